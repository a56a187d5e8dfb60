#!/usr/bin/env python3
"""Shows that peak memory does not grow with what is read or sent: a log, a download and a submission, each at two sizes ten-fold apart.

    growth.py [SCRATCH_DIR]

Needs nothing but Python: this process is the master, and makes what it sends while it sends it. SCRATCH_DIR has room for a checkpoint of 1 GiB;
by default it is the system's directory for temporary files.
"""

import gzip
import http.server
import io
import json
import os
import sys
import tarfile
import tempfile
import threading

import run

MIB = 1 << 20
UUID = "11111111-2222-4333-8444-555555555555"
SIZES = {"logs": (40_000, 400_000), "download": (100, 1_000), "submit": (5, 50)}
UNITS = {"logs": "entries", "download": "MiB", "submit": "MiB"}


class Master(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    size = 0

    def do_POST(self):
        if self.headers["transfer-encoding"] == "chunked":
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
            self.rfile.readline()
        else:
            self.rfile.read(int(self.headers["content-length"] or 0))
        self.reply({"/api/v1/auth/login": {"token": "t"}}.get(self.path, {"experiment": {"id": 1}}))

    def do_GET(self):
        path = self.path.split("?")[0]
        if path == "/api/v1/trials/1/logs":
            self.stream(self.log)
        elif path == f"/checkpoints/{UUID}":
            self.stream(self.archive)
        elif path == f"/api/v1/checkpoints/{UUID}":
            resources = {f"part{n:04}": str(MIB) for n in range(self.size)}
            self.reply({"checkpoint": {"uuid": UUID, "state": "STATE_COMPLETED", "resources": resources}})
        else:
            self.reply({"trial": {"id": 1}})

    def reply(self, answer):
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-length", len(body))
        self.end_headers()
        self.wfile.write(body)

    def stream(self, write):
        self.send_response(200)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        with io.BufferedWriter(Chunks(self.wfile), 1 << 16) as chunks:
            write(chunks)
        self.wfile.write(b"0\r\n\r\n")

    def log(self, to):
        for n in range(self.size):
            log = f"step {n} of the training, in which the loss is {n % 97} and the throughput 4711 samples/s\n"
            entry = {"id": str(n), "timestamp": "2026-01-01T00:00:00.123456Z", "message": f"[2026-01-01T00:00:00.123456Z] 7cbcfa21 || INFO: {log}",
                     "level": "LOG_LEVEL_INFO", "trialId": 1, "agentId": "agent-a", "log": log, "source": "task", "stdtype": "stdout"}
            to.write(json.dumps({"result": entry}, separators=(",", ":")).encode() + b"\n")

    def archive(self, to):
        content = os.urandom(MIB // 2) + bytes(MIB // 2)
        with gzip.GzipFile(fileobj=to, mode="wb", compresslevel=1) as zipped, tarfile.open(fileobj=zipped, mode="w|") as tar:
            for n in range(self.size):
                info = tarfile.TarInfo(f"part{n:04}")
                info.size = MIB
                tar.addfile(info, io.BytesIO(content))

    def log_message(self, *_):
        pass


class Chunks(io.RawIOBase):
    """Writes the chunks of an answer."""

    def __init__(self, to):
        self.to = to

    def writable(self):
        return True

    def write(self, data):
        self.to.write(b"%x\r\n%b\r\n" % (len(data), bytes(data)))
        return len(data)


def main():
    ours = run.build()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Master)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    for workload, sizes in SIZES.items():
        for size in sizes:
            Master.size = size
            with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as scratch:
                os.mkdir(f"{scratch}/model_def")
                for n in range(size * 20 if workload == "submit" else 0):
                    with open(f"{scratch}/model_def/{n}.py", "wb") as file:
                        file.write(os.urandom(MIB // 20))
                _, peak, _ = run.run([ours, workload, url, scratch])
            print(f"{workload:<10} {size:>9,} {UNITS[workload]:<8} {peak:>6.1f} MiB", flush=True)


if __name__ == "__main__":
    main()
