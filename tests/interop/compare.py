"""Compares what a client saw with what was recorded, up to what is bound to differ: ids of chance, times, paths."""

import datetime
import enum
import json
import pathlib
import re

RECORDINGS = pathlib.Path(__file__).resolve().parent.parent / "recordings"

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+\d\d:?\d\d)")
CONTAINER = re.compile(r"\] [0-9a-f]{8} ")
PID = re.compile(r"\[\d{3,6}\]")
USER = re.compile(r"kim\d+")
# How far what is on its way has come when it is looked at.
UNDER_WAY = {"QUEUED", "PULLING", "STARTING", "RUNNING"}
NUMBERED = re.compile(r"\b([Tt]rial|[Ee]xperiment) '?\d+'?")


def recorded_calls(scenario):
    return json.loads((RECORDINGS / f"{scenario}.calls.json").read_text())


def dump(value):
    """A value as the recordings have it: an object is its public attributes."""
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, (str, int, float, bool, type(None))):
        return value
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat()
    if isinstance(value, pathlib.Path):
        return str(value)
    if isinstance(value, dict):
        return {str(key): dump(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(dump(item) for item in value)
    if isinstance(value, (list, tuple)) or hasattr(value, "__next__"):
        return [dump(item) for item in value]
    public = {"_type": type(value).__name__}
    for name, item in vars(value).items():
        if not name.startswith("_"):
            public[name] = dump(item)
    for name in ("id", "trial_id", "experiment_id"):
        if name not in public and isinstance(getattr(type(value), name, None), property):
            public[name] = dump(getattr(value, name))
    return public


class Normal:
    """Takes out of a value what is bound to differ.

    With `numbers` false, fractions count by their kind only; with `ids` false, so do the ids of experiments and trials.
    """

    IDS = ("id", "trial_id", "experiment_id", "workspace_id")
    PATHS = ("host_path", "container_path", "storage_path")

    def __init__(self, numbers=True, ids=True):
        self.numbers = numbers
        self.ids = ids

    def __call__(self, value, key=None):
        if isinstance(value, dict):
            return {name: self(item, name) for name, item in value.items()}
        if isinstance(value, list):
            items = [self(item, key) for item in value]
            # The order of labels is lost on the way, here and there.
            return sorted(items) if key == "labels" and all(isinstance(item, str) for item in items) else items
        if key in ("experiment_seed", "state.json"):
            return f"<{key}>"
        if isinstance(value, str):
            return self.text(value, key)
        if not self.ids and key in self.IDS:
            return "<id>"
        if not self.numbers and isinstance(value, float):
            return "<fraction>"
        return value

    def text(self, text, key):
        if key in self.PATHS:
            return "<path>"
        if key == "state" and text in UNDER_WAY:
            return "<under way>"
        if key == "key" and len(text) == 5:
            # The end of a project's key is left to chance.
            return text[:3] + "??"
        text = UUID.sub("<uuid>", text)
        text = TIME.sub("<time>", text)
        text = CONTAINER.sub("] <container> ", text)
        text = PID.sub("[pid]", text)
        text = USER.sub("kim", text)
        if "New trial runner in (container" in text:
            text = text.split("on agent", 1)[0]
        if not self.ids:
            text = NUMBERED.sub(r"\1 <id>", text)
            text = re.sub(r"\b\d+\.<uuid>", "<id>.<uuid>", text)
        if not self.numbers:
            text = re.sub(r"\d+\.\d+", "<fraction>", text)
        return text


def differences(expected, found, at=""):
    """Where two values differ, one line for each place."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for name in sorted(set(expected) | set(found)):
            here = f"{at}.{name}"
            if name not in found:
                yield f"{here} is missing; recorded: {brief(expected[name])}"
            elif name not in expected:
                yield f"{here} is not in the recording: {brief(found[name])}"
            else:
                yield from differences(expected[name], found[name], here)
    elif isinstance(expected, list) and isinstance(found, list):
        if len(expected) != len(found):
            yield f"{at} has {len(found)} items; recorded: {len(expected)}"
        for index, (one, other) in enumerate(zip(expected, found)):
            yield from differences(one, other, f"{at}[{index}]")
    elif expected != found or type(expected) is not type(found):
        yield f"{at} is {brief(found)}; recorded: {brief(expected)}"


def brief(value):
    text = json.dumps(value)
    return text if len(text) <= 300 else text[:300] + "…"
