#!/usr/bin/env python3
"""Downloads checkpoints straight from an S3 bucket with this crate's release build and with the Python SDK (boto3), pair by pair.

    storage.py DATA_DIR PYTHON [--rounds N] [--size MIB ...]

DATA_DIR is made and filled once, PYTHON is an interpreter with `determined==0.38.1` and boto3. nginx (Debian package nginx-light) serves both the
master's answers and the bucket from static files on loopback: listings, objects and their parts, with entity tags that it checks. Both sides
read the same objects and write the same files, each in a process of its own, one right after the other. Printed are the median of the
pairs' ratios, and the highest memory of each side.
"""

import argparse
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request

import run

FILE = 16 << 20
PEER = """
import os, shutil, sys, tempfile, warnings
warnings.simplefilter("ignore")
url, data, uuid = sys.argv[1:4]
os.environ["DET_DEBUG_CONFIG_PATH"] = tempfile.mkdtemp(dir=data)
from determined.experimental import client
d = client.Determined(master=url, user="bench", password="bench")
out = tempfile.mkdtemp(dir=data)
d.get_checkpoint(uuid).download(os.path.join(out, "c"), mode=client.DownloadMode.DIRECT)
print(sum(os.path.getsize(os.path.join(r, f)) for r, _, fs in os.walk(out) for f in fs))
shutil.rmtree(out)
"""


def uuid_of(size):
    return f"{size:08}-2222-4333-8444-555555555555"


def write(path, content):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)


def make_checkpoint(root, url, size):
    """One of so many MiB: half of it in files of 16 MiB, half in one file, and a hundred small files. Gives their sizes by name."""
    uuid = uuid_of(size)
    directory = f"{root}/ckpts/bench/{uuid}"
    noise = random.Random(size)
    names = {f"layers/{n:03}.bin": FILE for n in range((size << 19) // FILE)}
    names |= {"optimizer.bin": size << 19} | {f"shards/{n:03}.json": 1000 for n in range(100)} | {"metadata.json": 20}
    for name, length in names.items():
        path = f"{directory}/{name}"
        if not os.path.exists(path):
            block = noise.randbytes(min(length, FILE))
            write(path + ".part", b"".join(block for _ in range(max(1, length // FILE))))
            os.rename(path + ".part", path)
    entries = []
    for name, length in sorted(names.items()):
        stat = os.stat(f"{directory}/{name}")
        assert stat.st_size == length
        tag = f"&quot;{int(stat.st_mtime):x}-{stat.st_size:x}&quot;"
        entries.append(f"<Contents><Key>bench/{uuid}/{name}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>{tag}</ETag><Size>{length}</Size></Contents>")
    listing = f'<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>ckpts</Name><IsTruncated>false</IsTruncated>{"".join(entries)}</ListBucketResult>'
    write(f"{root}/listing-{uuid}.xml", listing.encode())
    storage = {"type": "s3", "bucket": "ckpts", "prefix": "bench", "endpoint_url": url, "access_key": "a", "secret_key": "s"}
    checkpoint = {
        "uuid": uuid, "reportTime": "2026-01-01T00:00:00Z", "resources": {name: str(length) for name, length in names.items()}, "metadata": {},
        "state": "STATE_COMPLETED", "taskId": "1.t", "allocationId": "1.t.1",
        "training": {"trialId": 1, "experimentId": 1, "experimentConfig": {"checkpoint_storage": storage}, "hparams": {}, "validationMetrics": {"avgMetrics": {}, "batchMetrics": []}},
    }
    write(f"{root}/api/v1/checkpoints/{uuid}", json.dumps({"checkpoint": checkpoint}).encode())
    return sum(names.values())


def start_nginx(root, port):
    user = {"id": 2, "username": "bench", "admin": False, "active": True, "displayName": ""}
    write(f"{root}/login.json", json.dumps({"token": "bench-token", "user": user}).encode())
    write(f"{root}/api/v1/me", json.dumps({"user": user}).encode())
    paths = " ".join(f"{name}_temp_path {root}/temp;" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    write(f"{root}/nginx.conf", f"""
worker_processes 2; daemon off; pid {root}/nginx.pid;
events {{ worker_connections 512; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; default_type application/json; {paths}
  map $arg_prefix $checkpoint {{ "~(?<uuid>[0-9a-f]+-2222-4333-8444-555555555555)" $uuid; }}
  server {{
    listen 127.0.0.1:{port}; root {root};
    location = / {{ return 403; }}
    location = /api/v1/auth/login {{ error_page 405 =200 /login.json; return 405; }}
    location = /ckpts {{ types {{ }} default_type application/xml; try_files /listing-$checkpoint.xml =404; }}
    location /ckpts/ {{ types {{ }} default_type binary/octet-stream; }}
  }}
}}
""".encode())
    nginx = subprocess.Popen(["nginx", "-c", f"{root}/nginx.conf", "-e", f"{root}/error.log"])
    for _ in range(100):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/me", timeout=5).close()
            return nginx
        except OSError:
            time.sleep(0.1)
    nginx.terminate()
    sys.exit("nginx does not answer")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("python")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, nargs="*", default=[96, 1024], help="in MiB")
    args = parser.parse_args()
    root = os.path.abspath(args.data)
    os.makedirs(root, exist_ok=True)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    expected = {size: make_checkpoint(root, url, size) for size in args.size}
    ours = run.build()
    nginx = start_nginx(root, port)
    out = f"{root}/out"
    try:
        print(f"{'MiB':>5} {'ratio':>8} {'ours':>9} {'python':>9} {'ours MiB':>9} {'python MiB':>11}")
        for size in args.size:
            pairs = []
            for _ in range(args.rounds):
                os.makedirs(out, exist_ok=True)
                mine = run.run([ours, "direct", url, out, uuid_of(size)])
                theirs = run.run([args.python, "-c", PEER, url, out, uuid_of(size)])
                assert int(mine[2]) == int(theirs[2]) == expected[size], (mine, theirs)
                pairs.append((mine, theirs))
            ratio = statistics.median(t[0] / m[0] for m, t in pairs)
            seconds = [statistics.median(side[0] for side in sides) for sides in zip(*pairs)]
            peaks = [max(side[1] for side in sides) for sides in zip(*pairs)]
            print(f"{size:>5} {ratio:>7.1f}x {seconds[0]:>8.3f}s {seconds[1]:>8.2f}s {peaks[0]:>9.1f} {peaks[1]:>11.1f}", flush=True)
    finally:
        nginx.terminate()
        nginx.wait()
        shutil.rmtree(out, ignore_errors=True)


if __name__ == "__main__":
    main()
