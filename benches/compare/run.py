#!/usr/bin/env python3
"""Runs this crate's release build and the Python SDK side by side, pair by pair, and prints ratios and peak memory.

    run.py URL DATA_DIR PYTHON PEER [--rounds N] [WORKLOAD ...]

URL is a master that answers the workloads, DATA_DIR holds `model_def`, PYTHON is an interpreter with `determined==0.38.1`, PEER the script
that does the workloads with it: `PEER WORKLOAD URL DATA_DIR`. Each pair runs one right after the other, so that both meet the same machine; the
ratio is the median of the pairs'.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time

WORKLOADS = ["start", "logs", "metrics", "models", "submit", "download"]


def build():
    """The release build of workload.rs."""
    command = ["cargo", "bench", "--no-run", "--bench", "workload", "--message-format=json"]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    artifacts = (json.loads(line) for line in out.splitlines() if line.startswith("{"))
    return next(a["executable"] for a in artifacts if a.get("executable") and a["target"]["name"] == "workload")


def run(command):
    """Seconds, peak memory in MiB and output of one process. The peak is what the kernel says of it just before it ends."""
    peak = 0
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    done = threading.Event()

    def watch():
        nonlocal peak
        # Often at first, so that short processes are seen too.
        pause = 0.0003
        while not done.wait(pause):
            pause = min(pause * 1.2, 0.005)
            try:
                with open(f"/proc/{process.pid}/status") as status:
                    for line in status:
                        if line.startswith("VmHWM:"):
                            peak = max(peak, int(line.split()[1]))
            except OSError:
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    output = process.communicate()[0].strip().splitlines()
    seconds = time.perf_counter() - started
    done.set()
    watcher.join()
    if process.returncode:
        sys.exit(f"{command} failed with {process.returncode}")
    # The Python SDK prints its progress before the count.
    return seconds, peak / 1024, output[-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("data")
    parser.add_argument("python")
    parser.add_argument("peer")
    parser.add_argument("workloads", nargs="*", default=[])
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_intermixed_args()
    data = os.path.abspath(args.data)
    ours = build()
    print(f"{'workload':<10} {'ratio':>8} {'ours':>9} {'python':>9} {'ours MiB':>9} {'python MiB':>11}")
    for workload in args.workloads or WORKLOADS:
        pairs = []
        for _ in range(args.rounds):
            mine = run([ours, workload, args.url, data])
            theirs = run([args.python, args.peer, workload, args.url, data])
            pairs.append((mine, theirs))
        counted = {(m[2], t[2]) for m, t in pairs}
        ratio = statistics.median(t[0] / m[0] for m, t in pairs)
        line = f"{workload:<10} {ratio:>7.1f}x"
        line += f" {statistics.median(m[0] for m, _ in pairs):>8.3f}s {statistics.median(t[0] for _, t in pairs):>8.2f}s"
        line += f" {max(m[1] for m, _ in pairs):>9.1f} {max(t[1] for _, t in pairs):>11.1f}"
        print(line, flush=True)
        for mine, theirs in counted:
            if mine != theirs and workload != "metrics":
                print(f"  counted {mine}, Python {theirs}")


if __name__ == "__main__":
    main()
