"""Brings a fresh master into the state in which the recordings were made, as far as they speak of it."""

import pathlib
import time

from determined.common import util
from determined.experimental.client import Determined

import compare

INPUTS = compare.RECORDINGS / "inputs"
CONFIG, MODEL = str(INPUTS / "exp.yaml"), str(INPUTS / "model")


def login(url, user="determined"):
    return Determined(master=url, user=user, password="")


def submit(client, scratch, seed=None, model=MODEL):
    """The recorded experiment; the seed gives it the recorded hyperparameters, and so the recorded metrics."""
    text = pathlib.Path(CONFIG).read_text()
    if seed is not None:
        text += f"reproducibility: {{experiment_seed: {seed}}}\n"
    path = scratch / "config.yaml"
    path.write_text(text)
    return client.create_experiment(str(path), model)


def failing_model(scratch):
    directory = scratch / "failing"
    directory.mkdir(exist_ok=True)
    (directory / "train.py").write_text("import sys\nprint('about to fail')\nraise ValueError('no luck')\n")
    return str(directory)


def prepare(client, scratch):
    """Runs the experiment that the recordings speak of: number 4, whose trials are 7 and 8, after two that failed and another."""
    for _ in range(2):
        submit(client, scratch, model=failing_model(scratch))
    submit(client, scratch)
    experiment = submit(client, scratch, seed=1795464631)
    experiment.wait(interval=0.5)
    trials = [trial.id for trial in experiment.list_trials()]
    assert (experiment.id, trials) == (4, [7, 8]), (experiment.id, trials)
    return experiment


def prepare_others(client, scratch):
    """The experiments that were there beside number 5 when experiments were listed: 7 was gone again."""
    config = util.yaml_safe_load(pathlib.Path(CONFIG).read_text())
    from_dict = client.create_experiment({**config, "name": "from-dict"}, MODEL)
    from_dict.kill()
    from_dict.wait(interval=0.5)
    gone = submit(client, scratch, model=failing_model(scratch))
    gone.wait(interval=0.5)
    gone.delete()
    last = submit(client, scratch)
    last.wait(interval=0.5)
    assert last.id == 8, last.id


def prepare_workspaces(admin):
    """A workspace that was there, and the numbers of those that were gone again; likewise a project."""
    for name in ("a", "b", "c"):
        admin.create_workspace(name)
    admin.get_workspace("c").create_project("p")
    admin.create_workspace("zz")
    for name in ("a", "b", "c"):
        admin.delete_workspace(name)
    while len(admin.list_workspaces()) > 2:
        time.sleep(0.2)
