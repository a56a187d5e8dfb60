"""Runs the recorded `det` commands against a master and compares exit status and output with what they were then.

    python det.py URL SCRATCH
"""

import pathlib
import re
import subprocess
import sys

import compare
from cluster import INPUTS, login, prepare

URL, SCRATCH = sys.argv[1], pathlib.Path(sys.argv[2])
RECORDED_CHECKPOINT = "0f5581ff-18d1-4a13-8244-feadd21feee2"

# Commands whose output depends on what else the cluster has seen: each line that is given here must be in it.
ONLY = {
    "det user list": [r"1 \| admin +\| +\| True ", r"2 \| determined +\| +\| False "],
    "det experiment list": [r"4 \| determined \| decay-search +\| +\| COMPLETED \| 100.0%", r"1 \| determined .* ERROR +\| 0.0%"],
    "det workspace list": [r"ID \| Name +\| +# Projects \|", r"1 \| Uncategorized \| +1 \|"],
    "det project list Uncategorized": [r"1 \| UNC2E \| Uncategorized \| +\| +6 \| +0$"],
    "det experiment create exp.yaml model": [r"^Created experiment 5$"],
    "det model create det-model": [r"1 \| det-model \| +\| +1 \|"],
    "det model list": [r"1 \| det-model \| +1 \|"],
}


def arguments(command, checkpoint):
    """The recorded command line as words; one argument had a blank in it."""
    words = command.replace("from det", "from\0det").replace(RECORDED_CHECKPOINT, checkpoint).split()
    return [word.replace("\0", " ").replace("OUT", str(SCRATCH / "checkpoint")) for word in words]


def lines(text, checkpoint):
    """The output without what is bound to differ, and without regard to the width of columns."""
    normal = compare.Normal(numbers=True, ids=True)
    text = text.replace(str(SCRATCH / "checkpoint"), "OUT").replace(checkpoint, RECORDED_CHECKPOINT).replace(URL, "URL")
    text = text.replace("http://localhost:8080", "URL")
    result = []
    # Progress is shown by writing over a line.
    for line in text.replace("\r", "\n").splitlines():
        line = re.sub(r"-{3,}", "---", re.sub(r" {2,}", " ", normal(line))).strip()
        line = re.sub(r"(host_path: |\"host_path\": ).*", r"\1<path>", line)
        line = re.sub(r"(experiment_seed\"?: |\"modelDefinitionSize\": |^)\d+(?= \| det-model|,|$)", r"\1<number>", line)
        line = re.sub(r"(Trial|Experiment|logs -f) \d+", r"\1 <id>", line).rstrip(",")
        if line:
            result.append(line)
    return result


def check(recorded, checkpoint):
    command, expected = recorded["call"], recorded["returned"]
    found = subprocess.run(arguments(command, checkpoint), cwd=INPUTS, capture_output=True, text=True)
    if found.returncode != expected["exit"]:
        yield f"exit status {found.returncode}, recorded: {expected['exit']}\n{found.stderr}"
        return
    if command in ONLY:
        for pattern in ONLY[command]:
            if not re.search(pattern, found.stdout, re.MULTILINE):
                yield f"no line like {pattern!r} in\n{found.stdout}"
        return
    # The recording has the end of a long output; the first of its lines may be cut.
    wanted, seen = lines(expected["stdout"], RECORDED_CHECKPOINT)[1:], lines(found.stdout, checkpoint)
    if "--follow-first-trial" in command:
        # The other outputs of a program than the standard one come in an order of chance.
        wanted = [line for line in wanted if "loss" not in line and "warn-ish" not in line and "New trial" not in line]
    for line in wanted:
        if line not in seen:
            yield f"no line {line!r}"
    if found.stderr.strip() and not expected["stderr"].strip():
        yield f"on the error output: {found.stderr}"


def main():
    client = login(URL)
    checkpoint = prepare(client, SCRATCH).top_checkpoint().uuid
    failures = []
    commands = compare.recorded_calls("det_command")
    for recorded in commands:
        for failure in check(recorded, checkpoint):
            failures.append(f"{recorded['call']}: {failure}")
    print(f"{len(commands)} det commands")
    if failures:
        print(f"{len(failures)} differences", *failures, sep="\n")
        sys.exit(1)


main()
