//! The model registry.

use determined::{
    CheckpointQuery, CreateModelOptions, ErrorKind, ModelQuery, ModelSortBy, ModelVersionQuery,
    OrderBy,
};
use serde_json::json;

use crate::replay::Replay;

#[test]
fn models_and_their_versions() {
    let mut replay = Replay::start("model_registry");
    let client = replay.client("determined");
    let experiment = replay.done(client.get_experiment(4));
    let checkpoints = replay.done(experiment.list_checkpoints_with(CheckpointQuery::new()));
    let uuids: Vec<_> = checkpoints
        .iter()
        .map(|checkpoint| checkpoint.uuid.as_str())
        .collect();

    let options = CreateModelOptions::new()
        .description("flowers")
        .metadata(json!({"k": "v"}))
        .labels(["one", "two"])
        .workspace_name("Uncategorized");
    let mut m = replay.returns(
        "d.create_model('iris', description='flowers', metadata={'k': 'v'}, labels=['one', 'two'], workspace_name='Uncategorized')",
        client.create_model_with("iris", options),
    );
    replay.raises(
        "d.create_model('iris')",
        ErrorKind::Conflict,
        client.create_model("iris"),
    );
    replay.returns("d.get_model('iris')", client.get_model("iris"));
    replay.returns("d.get_model(mid)", client.get_model(m.model_id));
    replay.raises(
        "d.get_model('no such model')",
        ErrorKind::NotFound,
        client.get_model("no such model"),
    );
    replay.raises(
        "d.get_model(424242)",
        ErrorKind::NotFound,
        client.get_model(424_242),
    );

    replay.returns("m.get_version()", m.latest_version());
    let mut v = replay.returns("m.register_version(us[0])", m.register_version(uuids[0]));
    replay.returns("m.register_version(us[1])", m.register_version(uuids[1]));
    replay.returns("m.get_version()", m.latest_version());
    replay.returns("m.get_version(1)", m.get_version(1));
    replay.raises("m.get_version(9)", ErrorKind::NotFound, m.get_version(9));
    replay.returns("m.get_versions()", m.get_versions());
    let ascending = ModelVersionQuery::new().order_by(OrderBy::Ascending);
    replay.returns(
        "m.get_versions(order_by=OrderBy.ASC)",
        m.get_versions_with(ascending),
    );
    replay.returns("list(m.list_versions())", m.get_versions());

    replay.returns(
        "m.add_metadata({'z': [1, {'q': None}]})",
        m.add_metadata(json!({"z": [1, {"q": null}]})),
    );
    replay.returns("m.metadata", Ok(&m.metadata));
    replay.returns(
        "m.remove_metadata(['k', 'absent'])",
        m.remove_metadata(["k", "absent"]),
    );
    replay.returns("m.metadata", Ok(&m.metadata));
    replay.returns("m.set_labels(['three'])", m.set_labels(["three"]));
    replay.returns("m.labels", Ok(&m.labels));
    replay.returns("m.set_description('d2')", m.set_description("d2"));
    replay.returns("m.archive()", m.archive());
    replay.raises(
        "m.set_description('while archived')",
        ErrorKind::Api,
        m.set_description("while archived"),
    );
    replay.returns("m.unarchive()", m.unarchive());
    replay.returns("m.reload()", m.reload());
    replay.returns("m.archived", Ok(m.archived));
    // Times keep their fractions.
    assert_eq!(
        m.creation_time.unwrap().to_string(),
        "2026-11-23T20:11:38.921785Z"
    );

    replay.returns("v.set_name('first')", v.set_name("first"));
    replay.returns("v.set_notes('some notes')", v.set_notes("some notes"));
    replay.returns("v.reload()", v.reload());
    assert_eq!((v.name.as_str(), v.notes.as_str()), ("first", "some notes"));
    replay.returns("v.delete()", v.delete());
    let nowhere = m.register_version("00000000-0000-4000-8000-000000000000");
    replay.raises(
        "m.register_version('00000000-0000-4000-8000-000000000000')",
        ErrorKind::NotFound,
        nowhere,
    );

    replay.returns("d.get_models()", client.get_models());
    let newest_first = ModelQuery::new()
        .sort_by(ModelSortBy::CreationTime)
        .order_by(OrderBy::Descending);
    replay.returns(
        "d.get_models(sort_by=ModelSortBy.CREATION_TIME, order_by=ModelOrderBy.DESC)",
        client.get_models_with(newest_first),
    );
    let query = ModelQuery::new().name("iri").description("d2");
    replay.returns(
        "d.get_models(name='iri', description='d2')",
        client.get_models_with(query),
    );
    let query = ModelQuery::new().model_id(m.model_id);
    replay.returns("d.get_models(model_id=mid)", client.get_models_with(query));
    let query = ModelQuery::new().workspace_names(["Uncategorized"]);
    replay.returns(
        "d.get_models(workspace_names=['Uncategorized'])",
        client.get_models_with(query),
    );
    let query = ModelQuery::new().workspace_ids([1]);
    replay.returns(
        "d.get_models(workspace_ids=[1])",
        client.get_models_with(query),
    );
    replay.returns("d.get_model_labels()", client.get_model_labels());
    replay.returns("m.delete()", m.delete());
    replay.raises(
        "d.get_model('iris')",
        ErrorKind::NotFound,
        client.get_model("iris"),
    );
    replay.finish();
}
