"""Runs `det` commands against a master: the recorded ones, whose exit status and output are compared with what they were then, and others.

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

# Commands that were not recorded, in order, with the exit status and a line of the output that a real master 0.38.1 gave them.
FURTHER = [
    ("experiment list --csv", 0, r"^4,determined,decay-search,,COMPLETED,100.0%,"),
    ("experiment list-trials 4 --csv", 0, r"^7,COMPLETED,"),
    ("experiment list-checkpoints 4 --best 2 --csv", 0, r"^7,5,COMPLETED,1\.518412200287632,"),
    ("experiment logs 4", 0, r"INFO: Trial 7 \(Experiment 4\) was terminated: "),
    ("experiment describe 999", 1, r"Failed to describe experiment: experiment '999' not found"),
    ("experiment label remove 4 blue", 0, r"^Removed label 'blue' from experiment 4$"),
    ("experiment set name 4 other", 0, r"^Set name of experiment 4 to 'other'$"),
    ("experiment set priority 4 50", 1, r"Failed to set `priority` of experiment: experiment '4' not found"),
    ("experiment pause 4", 1, r"experiment in terminal state"),
    ("experiment activate 4", 1, r"experiment '4' not found"),
    ("experiment cancel 4", 0, r"^Canceled experiment 4$"),
    ("experiment move 4 Uncategorized Uncategorized", 0, r'^Moved experiment 4 to project "Uncategorized"$'),
    ("trial describe 7 --json", 0, r'^ +"totalBatchesProcessed": 5'),
    ("trial logs 8 --head 1", 0, r"INFO: Scheduling Trial 8 \(Experiment 4\)"),
    ("trial kill 7", 1, r"Failed to forcibly terminate a trial: experiment '4' not found"),
    ("trial describe 999", 1, r"Failed to describe trial: trial '999' not found"),
    ("model create det-model", 1, r"avoid names equal to other models \(case-sensitive\)"),
    ("model describe det-model --json", 0, r'^ +"archived": false,$'),
    ("model describe nope", 1, r'Failed to describe model: model "nope" not found'),
    ("workspace create lab", 0, r"^ +2 \| lab +\| +0 \|"),
    ("workspace edit lab --name lab2", 0, r"^ +2 \| lab2 +\| +0 \|"),
    ("workspace list-pools lab2", 0, r"^ +lab2 +\| default"),
    ("workspace archive lab2", 0, r"^Successfully archived workspace lab2\.$"),
    ("workspace unarchive lab2", 0, r"^Successfully un-archived workspace lab2\.$"),
    ("workspace describe nope", 1, r"Failed to describe workspace: workspace 'nope' not found"),
    ("project create lab2 proj --description d", 0, r"^ +2 \| PRO.. +\| proj +\| d +\| +0 \| +0$"),
    ("project edit lab2 proj --new_name proj2", 0, r"^ +2 \| PRO.. +\| proj2 +\| d +\|"),
    ("project list-experiments Uncategorized Uncategorized", 0, r"^ +4 \| determined \| other +\| +\| COMPLETED \| 100\.0%"),
    ("project archive lab2 proj2", 0, r"^Successfully archived project proj2\.$"),
    ("project describe nope nope", 1, r"Failed to describe project: workspace 'nope' not found"),
    ("agent list --csv", 0, r"^agent-a,[^,]*,[^,]*,2,0,default,True,False,"),
    ("slot list --csv", 0, r"^agent-a,default,1,True,False,FREE,FREE,cpu,"),
    ("task list", 0, r"^ *Task ID +\| Allocation ID +\| Name +\| Slots Needed"),
    ("job list --csv", 0, r"^#,ID,Type,Job Name,Priority,Submitted,Slots \(acquired/needed\),State,User$"),
    ("command list", 0, r"^ *id +\| username +\| description +\| state +\| exitStatus"),
    ("notebook list", 0, r"^ *id +\| username +\| description +\| state +\| exitStatus"),
    ("shell list", 0, r"^ *id +\| username +\| description +\| state +\| exitStatus"),
    ("tensorboard list", 0, r"^ *id +\| username +\| description +\| state +\| experimentIds"),
    ("template create plain exp.yaml", 0, r"^Created template plain$"),
    ("template list", 0, r"^ *plain +\| Uncategorized"),
    ("template describe plain", 0, r"^ +host_path: /srv/checkpoints$"),
    ("template remove plain", 0, r"^Removed template plain$"),
    ("auth login", 0, r"^No SSO providers found\.$"),
]


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


def check_further(command, status, pattern):
    found = subprocess.run(["det", *command.split()], cwd=INPUTS, capture_output=True, text=True)
    output = found.stdout + found.stderr
    if found.returncode != status:
        yield f"exit status {found.returncode}, on a real master {status}\n{output}"
    elif not re.search(pattern, output, re.MULTILINE):
        yield f"no line like {pattern!r} in\n{output}"


def main():
    client = login(URL)
    checkpoint = prepare(client, SCRATCH).top_checkpoint().uuid
    failures = []
    commands = compare.recorded_calls("det_command")
    for recorded in commands:
        for failure in check(recorded, checkpoint):
            failures.append(f"{recorded['call']}: {failure}")
    for command, status, pattern in FURTHER:
        for failure in check_further(command, status, pattern):
            failures.append(f"det {command}: {failure}")
    print(f"{len(commands)} recorded det commands, {len(FURTHER)} further ones")
    if failures:
        print(f"{len(failures)} differences", *failures, sep="\n")
        sys.exit(1)


main()
