"""Makes calls of the Python SDK and writes down what it sends for each, as tests/vectors/python_requests.jsonl has it.

    python record_requests.py URL SCRATCH > tests/vectors/python_requests.jsonl

URL is that of an in-process master (`cargo run --example mock_master`) that nobody has used yet, SCRATCH an empty directory.
"""

import json
import os
import pathlib
import re
import sys
import urllib.parse
import warnings

import requests

warnings.simplefilter("ignore")
URL, SCRATCH = sys.argv[1], pathlib.Path(sys.argv[2])
os.environ["DET_DEBUG_CONFIG_PATH"] = str(SCRATCH / "store")

from determined.common.experimental.resource_pool import ResourcePool
from determined.common.experimental.trial import LogLevel
from determined.experimental.client import (
    CheckpointSortBy,
    Determined,
    ExperimentSortBy,
    ExperimentState,
    ModelSortBy,
    OrderBy,
    TrialSortBy,
)

ORDERS = [f"OrderBy.{order.name}" for order in OrderBy]
STEPS = [
    "e = d.create_experiment(config, model)",
    "d.create_experiment(config, model, includes=[file, directory], project_id=1)",
    "d.create_experiment(config, model, template='nope')",
    "d.create_experiment(config)",
    *(f"d.list_experiments(sort_by=ExperimentSortBy.{key.name})" for key in ExperimentSortBy),
    *(f"d.list_experiments(states=[ExperimentState.{state.name}])" for state in ExperimentState),
    "d.list_experiments()",
    "d.list_experiments(order_by=OrderBy.DESC)",
    "d.list_experiments(sort_by=ExperimentSortBy.NAME, order_by=OrderBy.ASC, experiment_ids=[1, 2, 99], labels=['a b', 'é', 'x%'],"
    " users=['admin', 'k m'], name='de_%&=+#', project_id=1, states=[ExperimentState.COMPLETED, ExperimentState.ERROR])",
    "d.list_experiments(experiment_ids=[], labels=[], users=[], states=[], name='', project_id=0)",
    *(
        f"e.list_trials(TrialSortBy.{key.name}, {order})"
        for key in TrialSortBy
        for order in ORDERS
        if key.name != "LOG_RETENTION_DAYS"
    ),
    "list(e.iter_trials(limit=1))",
    "list(e.iter_trials(TrialSortBy.START_TIME, OrderBy.DESC, 2))",
    "e.list_trials()",
    "d.get_experiment(1)",
    "d.get_experiment(99)",
    "d.get_trial(99)",
    "t = d.get_trial(1)",
    *(
        f"{owner}.list_checkpoints(CheckpointSortBy.{key.name}, {order}{most})"
        for owner in "et"
        for key in CheckpointSortBy
        for order in ORDERS
        for most in ("", ", max_results=2")
    ),
    *(
        f"{owner}.list_checkpoints({arguments})"
        for owner in "et"
        for arguments in ("'val_loss', OrderBy.DESC", "'a/b c&=é', OrderBy.ASC", "")
    ),
    "t.reload()",
    "t.get_experiment()",
    "list(t.iter_logs())",
    "list(t.iter_logs(head=2))",
    "list(t.iter_logs(tail=2))",
    "list(t.iter_logs(follow=True))",
    *(f"list(t.iter_logs(min_level=LogLevel.{level.name}))" for level in LogLevel),
    "list(t.iter_logs(container_ids=['c1', 'c 2'], rank_ids=[0, 3], stdtypes=['stdout', 'stderr'], sources=['task', 'master'],"
    " search_text='ste_p %é&', timestamp_before='2030-01-01T00:00:00Z', timestamp_after='2020-01-01T00:00:00.5Z',"
    " min_level=LogLevel.WARNING))",
    "list(t.iter_logs(head=3, stdtypes=['stdout']))",
    "list(t.iter_logs(tail=3, stdtypes=['stdout'], min_level=LogLevel.INFO))",
    *(f"list(t.iter_metrics({group!r}))" for group in ("training", "validation", "a b/é")),
    "list(t.iter_logs(rank_ids=[0], sources=['agent'], container_ids=['c/1?&'], search_text='', timestamp_after='2020-01-01T00:00:00.123456Z'))",
    "list(d.iter_trials_metrics([1, 2], 'training'))",
    "list(d.iter_trials_metrics([1], 'a b/é'))",
    "e.list_checkpoints(max_results=1)",
    "c = e.list_checkpoints()[0]",
    "c = d.get_checkpoint(c.uuid)",
    "d.get_checkpoint('00000000-0000-0000-0000-000000000000')",
    "d.get_checkpoint('b a/d')",
    "c.reload()",
    "list(c.get_metrics())",
    "list(c.get_metrics('a b'))",
    "list(c.get_metrics(''))",
    "c.add_metadata({'x': [1, 2.5, None, True, 'é'], 'nan': nan, 'inf': -inf, 'n': {'a': {'b': 1}}})",
    "c.remove_metadata(['x', 'nope'])",
    "c.remove_files(['a/*', 'b c'])",
    "c.remove_files([])",
    "e.set_name('new é')",
    "e.set_description('')",
    "e.set_notes('n\\n')",
    "e.set_labels(['one', 'two words', 'one'])",
    "e.set_labels(['one'])",
    "e.set_labels([])",
    *(f"e.add_label({label!r})" for label in ("a b", "é", "a?b#c", "x%y", "a&b=c+d;", "a:b", "..x")),
    *(f"e.remove_label({label!r})" for label in ("a b", "é", "a?b#c", "x%y", "a&b=c+d;")),
    "e.reload()",
    "e.archive()",
    "e.unarchive()",
    "e.activate()",
    "e.pause()",
    "e.cancel()",
    "e.kill()",
    "t.kill()",
    "e.delete_tensorboard_files()",
    "e.download_code(out)",
    "w = d.create_workspace('lab é')",
    "d.get_workspace('lab é')",
    "d.get_workspace('no&pe=+')",
    "d.get_workspace('a/b%')",
    "d.list_workspaces()",
    "w.reload()",
    "w.list_pools()",
    "p = w.create_project('p q', 'desc')",
    "w.create_project('second')",
    "w.get_project('p q')",
    "w.list_projects()",
    "w.create_project('x/y?&é%', '')",
    "w.get_project('x/y?&é%')",
    "w.get_project('none')",
    "w.delete_project('x/y?&é%')",
    "p.set_name('r é')",
    "p.set_description('')",
    "p.set_key('abc')",
    "p.archive()",
    "p.unarchive()",
    "p.reload()",
    "p.add_note('n1', 'c1')",
    "p.add_note('n2', '')",
    "p.remove_note('n1')",
    "p.remove_note('zzz')",
    "p.list_experiments()",
    "e.move_to_project('lab é', 'r é')",
    "m = d.create_model('iris')",
    "d.create_model('full é', 'desc', {'k': nan, 'l': [1]}, ['a', 'b c'], 'lab é')",
    *(f"d.get_model({name!r})" for name in ("iris", "full é", "zz", "100%", "x?y", "q#r", "s+t&u=v")),
    "d.get_model(1)",
    "d.get_model_by_id(1)",
    "d.create_model('empty', '', {}, [])",
    "d.list_models()",
    "d.list_models(workspace_names=['lab é'])",
    "d.list_models(workspace_ids=[1])",
    *(f"d.list_models(ModelSortBy.{key.name}, {order})" for key in ModelSortBy for order in ORDERS),
    "d.list_models(name='i_%', description='d é', model_id=1, workspace_names=['lab é', 'x&y'], workspace_ids=[1, 2])",
    "d.list_models(name='', description='', model_id=0, workspace_names=[], workspace_ids=[])",
    "d.get_model_labels()",
    "m.set_description('é')",
    "m.set_labels(['x', 'y z'])",
    "m.set_labels([])",
    "m.add_metadata({'a': 1, 'inf': inf})",
    "m.remove_metadata(['a'])",
    "m.move_to_workspace('lab é')",
    "m.get_version()",
    "v = m.register_version(c.uuid)",
    "m.get_version(1)",
    "m.get_version(99)",
    "m.list_versions()",
    "m.list_versions(OrderBy.ASC)",
    "v.set_name('é')",
    "v.set_notes('')",
    "v.reload()",
    "list(v.iter_metrics())",
    "list(v.iter_metrics('g h'))",
    "v.delete()",
    "m.reload()",
    "m.archive()",
    "m.unarchive()",
    "m.delete()",
    # A name that must be encoded, in every route that has one.
    "m = d.create_model('é ?#%25+&;=')",
    "m.reload()",
    "m.set_description('d')",
    "v = m.register_version(c.uuid)",
    "v.set_notes('n')",
    "list(v.iter_metrics('validation'))",
    "m.get_version()",
    "m.list_versions()",
    "m.archive()",
    "m.unarchive()",
    "v.delete()",
    "m.delete()",
    "u = d.create_user('kim', False, 'Sekret.123')",
    "d.create_user('lee', True, 'Sekret.123')",
    "d.create_user('rem', False, remote=True)",
    *(f"d.get_user_by_name({name!r})" for name in ("kim", "no one", "a:b", "é", "x?y#z%+&")),
    "d.get_user_by_id(1)",
    "d.whoami()",
    "d.list_users()",
    "d.list_users(active=True)",
    "d.list_users(active=False)",
    "u.rename('kim2')",
    "u.change_display_name('Kim K.')",
    "u.change_display_name('')",
    "u.change_password('Other.1234')",
    "u.deactivate()",
    "u.activate()",
    "u.link_with_agent(1, 2, 'a', 'b')",
    "u.link_with_agent()",
    "u.reload()",
    "r.add_bindings(['lab é', 'z'])",
    "r.remove_bindings(['lab é'])",
    "r.replace_bindings([])",
    "r.list_workspaces()",
    "d.list_oauth_clients()",
    "d.add_oauth_client('https://x', 'n')",
    "d.remove_oauth_client('7')",
    "w.delete_project('second')",
    "c.delete()",
    "e.delete()",
    "d.delete_workspace('lab é')",
    "d.logout()",
]

sent = []
send = requests.adapters.HTTPAdapter.send


def note(adapter, request, **options):
    url = urllib.parse.urlsplit(request.url)
    pairs = urllib.parse.parse_qsl(url.query, keep_blank_values=True)
    query = "&".join(sorted(f"{key}={urllib.parse.quote(value, safe='')}" for key, value in pairs))
    path = url.path + (f"?{query}" if query else "")
    seen = {"request": f"{request.method} {path}"}
    if request.body:
        body = json.loads(request.body)
        # Without what depends on the machine.
        entries = body.get("modelDefinition") or []
        for entry in entries:
            del entry["mode"], entry["mtime"]
        entries.sort(key=lambda entry: entry["path"])
        seen["body"] = body
    sent.append(json.loads(re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID", json.dumps(seen))))
    return send(adapter, request, **options)


requests.adapters.HTTPAdapter.send = note


def main():
    (SCRATCH / "model/sub").mkdir(parents=True)
    (SCRATCH / "model/sub/a.txt").write_text("hi\n")
    (SCRATCH / "model/train.py").write_text("x = 1\n")
    (SCRATCH / "directory").mkdir()
    (SCRATCH / "directory/k.txt").write_text("k\n")
    (SCRATCH / "file.txt").write_text("i\n")
    (SCRATCH / "config.yaml").write_text(
        "name: diff\nentrypoint: python3 train.py\nsearcher: {name: grid, metric: val_loss, max_length: 2}\n"
        "hyperparameters:\n  lr: {type: categorical, vals: [0.1, 0.2]}\n"
    )
    d = Determined(URL, "admin", "")
    names = {
        **globals(),
        "d": d,
        "r": ResourcePool(d._session, "default"),
        "config": str(SCRATCH / "config.yaml"),
        "model": str(SCRATCH / "model"),
        "file": str(SCRATCH / "file.txt"),
        "directory": str(SCRATCH / "directory"),
        "out": str(SCRATCH / "out"),
        "nan": float("nan"),
        "inf": float("inf"),
    }
    stdout, sys.stdout = sys.stdout, sys.stderr
    for step in STEPS:
        sent.clear()
        try:
            exec(step, names)
        except Exception as error:
            print(f"{step}: {error}")
        line = {"call": step, "requests": list(sent)}
        print(json.dumps(line, ensure_ascii=False, separators=(",", ":")), file=stdout)
        if step.startswith("e = "):
            # What follows is about an experiment that has ended.
            names["e"].wait(interval=0.5)


main()
