"""Makes the recorded calls of the Python SDK against a master and compares what they return with what they returned then.

    python calls.py URL SCRATCH
"""

import json
import os
import pathlib
import sys

from determined.common.experimental import trial as trial_mod
from determined.experimental.client import (
    CheckpointOrderBy,
    CheckpointSortBy,
    Determined,
    DownloadMode,
    ExperimentSortBy,
    ExperimentState,
    ModelOrderBy,
    ModelSortBy,
    OrderBy,
)

import compare
from cluster import CONFIG, MODEL, failing_model, login, prepare, prepare_others, prepare_workspaces

URL, SCRATCH = sys.argv[1], pathlib.Path(sys.argv[2])
failures = []


def replay(scenario, names, bind=None, numbers=True, ids=True, unordered=()):
    """Makes the calls of a scenario in order.

    `names` are what the calls may use; `bind` says what names the result of a call gives. For `numbers` and `ids` see
    compare.Normal. Of calls in `unordered` the order is not compared.
    """
    normal = compare.Normal(numbers, ids)
    names = {**globals(), **names, "json": json, "os": os}
    calls = compare.recorded_calls(scenario)
    for recorded in calls:
        call = recorded["call"]
        try:
            value = eval(call, names)
            # A generator makes its request when it is read.
            value = list(value) if hasattr(value, "__next__") else value
            found = {"returned": compare.dump(value)}
            names.update((bind or {}).get(call, lambda _: {})(value))
        except Exception as error:
            found = {"raised": {"type": type(error).__name__, "message": str(error)}}
        found = json.loads(json.dumps(found).replace(str(names.get("o", "no directory")), "OUT"))
        expected = {key: recorded[key] for key in ("returned", "raised") if key in recorded}
        expected, found = normal(expected), normal(found)
        if call in unordered:
            for side in (expected, found):
                if isinstance(side.get("returned"), list):
                    side["returned"].sort(key=json.dumps)
        for difference in compare.differences(expected, found):
            failures.append(f"{scenario}: {call}: {difference}")
    print(f"{scenario}: {len(calls)} calls")


def named(name):
    return lambda value: {name: value}


def out(name):
    directory = SCRATCH / name
    directory.mkdir()
    return directory


def main():
    # Before there is a token in the store that would stand in for any password.
    for scenario in ("login_unknown_user", "login_wrong_password"):
        replay(scenario, {"U": "determined"})
    replay("login_password", {"U": "determined", "P": ""}, bind={"Determined(master=URL, user=U, password=P)": named("d")})

    d, admin = login(URL), login(URL, "admin")
    experiment = prepare(d, SCRATCH)
    trials, best = [7, 8], experiment.top_checkpoint()
    known = {"d": d, "n": 4, "e": experiment, "ids": trials, "t0": trials[0], "u": best.uuid, "t": d.get_trial(7), "c": best}

    replay("not_found", {"d": d, "e": not_there(d)})
    replay("create_experiment_rejected", {"d": d, "model_dir": MODEL})

    # In the recording the second trial was a little faster than the first.
    replay(
        "experiment_results",
        known,
        unordered=("e.list_checkpoints(sort_by=CheckpointSortBy.END_TIME, order_by=OrderBy.DESC)",),
    )
    replay("trial_reads", known)
    replay("metrics_streams", known)
    replay(
        "trial_logs",
        known,
        # What a program writes to its two outputs comes in an order of chance.
        unordered=("t.logs()", "t.logs(follow=True)", "t.logs(tail=3)"),
    )
    replay("checkpoint_reads", known, bind={"d.get_checkpoint(u)": named("c")})
    replay("checkpoint_download", {**known, "o": out("download")}, bind={"d.get_checkpoint(u)": named("c")})
    replay("experiment_code", {**known, "o": out("code")})
    include = out("include") / "lib"
    (include / "empty").mkdir(parents=True)
    (include / "util.py").write_text("X = 1\n")
    replay(
        "create_experiment_path",
        {"d": d, "config": CONFIG, "model_dir": MODEL, "inc": str(include)},
        bind={"d.create_experiment(config, model_dir, [inc])": named("e")},
        numbers=False,
    )
    prepare_others(d, SCRATCH)
    replay("experiment_listing", known)
    uuids = [checkpoint.uuid for checkpoint in experiment.list_checkpoints()]
    replay(
        "model_registry",
        {**known, "us": uuids, "mid": 1},
        bind={
            "d.create_model('iris', description='flowers', metadata={'k': 'v'}, labels=['one', 'two'], workspace_name='Uncategorized')": named("m"),
            "m.get_version(1)": named("v"),
        },
    )

    replay("users", {"d": admin, "name": "kim1795464704", "uid": 3}, bind={"d.get_user_by_id(uid)": named("u")})
    prepare_workspaces(admin)
    replay(
        "workspaces_projects",
        {"d": admin},
        bind={"d.create_workspace('lab')": named("w"), "w.create_project('proj', 'words')": named("p")},
    )

    replay(
        "experiment_failing",
        {"d": d, "config": CONFIG, "m": failing_model(SCRATCH)},
        bind={"d.create_experiment(config, m)": named("e"), "e.await_first_trial()": named("t")},
        numbers=False,
        ids=False,
    )
    replay(
        "experiment_grid_paged",
        {"d": d, "cfg": grid_config(), "model_dir": MODEL},
        bind={
            "d.create_experiment(cfg, model_dir)": named("e"),
            "e.list_trials()": lambda trials: {"t": trials[2]},
        },
        ids=False,
    )
    live = d.create_experiment(CONFIG, MODEL)
    replay(
        "trial_follow_live",
        {"e": live, "t": live.await_first_trial()},
        numbers=False,
        ids=False,
        unordered=("t.iter_logs(follow=True)",),
    )

    if failures:
        print(f"{len(failures)} differences", *failures, sep="\n")
        sys.exit(1)


def not_there(client):
    from determined.common.experimental.experiment import Experiment

    return Experiment(999999, client._session)


def grid_config():
    config = compare.recorded_calls("experiment_grid_paged")[0]["returned"]["config"]
    wanted = ("description", "entrypoint", "hyperparameters", "labels", "max_restarts", "name", "searcher", "checkpoint_storage")
    config = {key: config[key] for key in wanted}
    return {**config, "resources": {"slots_per_trial": 1}}


main()
