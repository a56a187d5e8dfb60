"""Brings a fresh master into the state in which the recordings were made, as far as they speak of it."""

import pathlib

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
