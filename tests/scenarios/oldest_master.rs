//! Version 0.21.0 of the SDK with a master of that version.

use std::fs;

use determined::{CreateModelOptions, Determined, ErrorKind, ModelQuery, ModelSortBy, OrderBy};
use serde_json::json;

use super::experiments::at_once;
use super::inputs::Inputs;
use crate::replay::Replay;

/// Logs in with a blank password, as the scenarios do.
fn client(replay: &mut Replay, user: &str) -> Determined {
    let call = format!("Determined(master=URL, user='{user}', password='')");
    let client = Determined::new(replay.login_options(user, ""));
    replay.logged_in(&call, client)
}

#[test]
fn models_of_the_oldest_master() {
    let mut replay = Replay::start("master-0.21.0/v21_models");
    let client = client(&mut replay, "determined");
    let options = CreateModelOptions::new()
        .description("flowers")
        .metadata(json!({"k": "v"}))
        .labels(["one"])
        .workspace_name("Uncategorized");
    let mut m = replay.returns(
        "d.create_model('iris', 'flowers', {'k': 'v'}, ['one'], 'Uncategorized')",
        client.create_model_with("iris", options),
    );
    replay.raises(
        "d.create_model('iris')",
        ErrorKind::Conflict,
        client.create_model("iris"),
    );
    replay.returns("d.get_model('iris')", client.get_model("iris"));
    replay.returns("d.get_models()", client.get_models());
    let query = ModelQuery::new()
        .sort_by(ModelSortBy::CreationTime)
        .order_by(OrderBy::Descending)
        .name("ir");
    replay.returns(
        "d.get_models(sort_by=ModelSortBy.CREATION_TIME, order_by=ModelOrderBy.DESC, name='ir')",
        client.get_models_with(query),
    );
    replay.returns("d.get_model_labels()", client.get_model_labels());
    replay.returns("m.get_version()", m.latest_version());
    replay.returns("m.get_versions()", m.get_versions());
    replay.returns("m.add_metadata({'z': 1})", m.add_metadata(json!({"z": 1})));
    replay.returns("m.remove_metadata(['k'])", m.remove_metadata(["k"]));
    assert_eq!(json!(m.metadata), json!({"z": 1}));
    replay.returns("m.set_labels(['x'])", m.set_labels(["x"]));
    assert_eq!(m.labels, ["x"]);
    replay.returns("m.archive()", m.archive());
    replay.returns("m.unarchive()", m.unarchive());
    replay.returns("m.delete()", m.delete());
    replay.raises(
        "d.get_model('iris')",
        ErrorKind::NotFound,
        client.get_model("iris"),
    );
    replay.finish();
}

#[test]
fn an_experiment_of_the_oldest_master() {
    let mut replay = Replay::start("master-0.21.0/v21_login_and_submit");
    let client = client(&mut replay, "determined");
    let inputs = Inputs::new();
    let config = fs::read_to_string(inputs.path("exp.yaml")).unwrap();
    inputs.write(
        "exp.yaml",
        &config.replace("max_trials: 2", "max_trials: 1"),
    );
    let e = client.create_experiment(inputs.path("exp.yaml"), inputs.path("model"));
    let mut e = replay.returns("d.create_experiment(config, model_dir)", e);
    replay.returns("d.get_experiment(e.id)", client.get_experiment(e.id));
    replay.returns("e.get_trials()", e.get_trials());
    replay.returns("e.pause()", e.pause());
    replay.raises(
        "e.wait(interval=0.5)",
        ErrorKind::ExperimentPaused,
        e.wait_with(at_once()),
    );
    replay.returns("e.activate()", e.activate());
    replay.returns("e.kill()", e.kill());
    replay.returns("e.wait(interval=0.5)", e.wait_with(at_once()));
    replay.raises(
        "e.top_checkpoint()",
        ErrorKind::CheckpointUnavailable,
        e.top_checkpoint(),
    );
    replay.returns("e.archive()", e.archive());
    assert!(e.archived);
    replay.returns("e.unarchive()", e.unarchive());
    assert!(!e.archived);
    replay.returns("e.get_trials()", e.get_trials());
    replay.raises(
        "d.get_trial(99999)",
        ErrorKind::NotFound,
        client.get_trial(99_999),
    );
    replay.raises(
        "d.get_experiment(99999)",
        ErrorKind::NotFound,
        client.get_experiment(99_999),
    );
    let nowhere = "00000000-0000-4000-8000-000000000000";
    let call = "d.get_checkpoint('00000000-0000-4000-8000-000000000000')";
    replay.raises(call, ErrorKind::NotFound, client.get_checkpoint(nowhere));
    replay.returns("e.delete()", e.delete());
    replay.finish();
}

#[test]
fn users_of_the_oldest_master() {
    let mut replay = Replay::start("master-0.21.0/v21_users");
    let client = client(&mut replay, "admin");
    replay.returns("d.whoami()", client.whoami());
    replay.returns("d.list_users()", client.list_users());
    let call = "d.create_user('kim', False, 'Sekret.123')";
    let mut u = replay.returns(call, client.create_user("kim", false, "Sekret.123"));
    replay.returns("u.deactivate()", u.deactivate());
    assert!(!u.active);
    replay.returns("u.activate()", u.activate());
    assert!(u.active);
    replay.returns("u.change_display_name('K')", u.change_display_name("K"));
    assert_eq!(u.display_name, "K");
    replay.returns("d.get_user_by_name('kim')", client.get_user_by_name("kim"));
    replay.finish();
}
