//! Models and their versions: what is sent, and what is made of the answers.

mod support;

use determined::{
    CreateModelOptions, ErrorKind, ModelQuery, ModelSortBy, ModelVersionQuery, OrderBy,
};
use serde_json::{Value, json};
use support::table::{calls, error, master};

fn models(models: Value) -> Value {
    let count = models.as_array().unwrap().len();
    json!({"models": models, "pagination": {"offset": 0, "limit": 0, "startIndex": 0, "endIndex": count, "total": count}})
}

fn iris() -> Value {
    json!({
        "name": "iris", "description": "flowers", "metadata": {"k": "v"}, "creationTime": "2026-11-23T20:11:38.921785Z",
        "lastUpdatedTime": "2026-11-23T20:11:38.921785Z", "id": 1, "numVersions": 0, "labels": ["one", "two"],
        "username": "determined", "workspaceId": 1, "userId": 2, "archived": false, "notes": "",
    })
}

/// What the master answers to a change: without id, user and workspace.
fn changed(field: &str, value: Value) -> Value {
    let mut model = iris();
    for (key, blank) in [
        ("id", json!(0)),
        ("username", json!("")),
        ("workspaceId", json!(0)),
    ] {
        model[key] = blank;
    }
    model["lastUpdatedTime"] = json!("2026-11-23T20:11:39.089798Z");
    model[field] = value;
    json!({"model": model})
}

fn version(number: i32) -> Value {
    json!({
        "model": {"name": "iris", "id": 1, "workspaceId": 0}, "version": number, "id": number + 10, "name": "", "comment": "", "notes": "",
        "creationTime": "2026-11-23T20:11:39.000001Z", "lastUpdatedTime": "2026-11-23T20:11:39.000001Z", "metadata": {}, "labels": [],
        "username": "determined", "userId": 2,
        "checkpoint": {"uuid": "0f5581ff-18d1-4a13-8244-feadd21feee2", "state": "STATE_COMPLETED", "resources": {"w.bin": "2048"},
                       "metadata": {}, "training": {}},
    })
}

#[test]
fn the_calls_on_models_are_those_of_the_python_sdk() {
    let page = "offset=0&orderBy=ORDER_BY_ASC&sortBy=SORT_BY_NAME";
    let lists = [
        format!("GET /api/v1/models?{page}"),
        "GET /api/v1/models?offset=0&orderBy=ORDER_BY_DESC&sortBy=SORT_BY_CREATION_TIME".to_owned(),
        format!("GET /api/v1/models?description=d2&name=iri&{page}"),
        format!("GET /api/v1/models?id=1&{page}"),
        format!("GET /api/v1/models?{page}&workspaceNames=lab%20one&workspaceNames=zoo"),
        format!("GET /api/v1/models?{page}&workspaceIds=1&workspaceIds=2"),
    ];
    let mut rows = vec![
        ("POST /api/v1/models", 200, json!({"model": iris()})),
        (
            "POST /api/v1/models",
            409,
            error("avoid names equal to other models (case-sensitive)"),
        ),
        ("GET /api/v1/models/iris", 200, json!({"model": iris()})),
        ("GET /api/v1/models/1", 200, json!({"model": iris()})),
        (
            "GET /api/v1/models/no%20such%20model",
            404,
            error("model \"no such model\" not found"),
        ),
        (
            "PATCH /api/v1/models/iris",
            200,
            changed("labels", json!(["three"])),
        ),
        (
            "PATCH /api/v1/models/iris",
            200,
            changed("description", json!("d2")),
        ),
        ("POST /api/v1/models/iris/archive", 200, json!({})),
        ("POST /api/v1/models/iris/unarchive", 200, json!({})),
        (
            "GET /api/v1/model/labels",
            200,
            json!({"labels": ["three"]}),
        ),
        ("DELETE /api/v1/models/iris", 200, json!({})),
    ];
    rows.extend(
        lists
            .iter()
            .map(|call| (call.as_str(), 200, models(json!([iris()])))),
    );
    let master = master(rows);
    let client = master.client();

    let options = CreateModelOptions::new()
        .description("flowers")
        .metadata(json!({"k": "v"}))
        .labels(["one", "two"])
        .workspace_name("Uncategorized");
    let mut model = client.create_model_with("iris", options).unwrap();
    assert_eq!((model.model_id, model.workspace_id), (1, Some(1)));
    assert_eq!(
        model.creation_time.unwrap().to_string(),
        "2026-11-23T20:11:38.921785Z"
    );
    let error = client.create_model("iris").unwrap_err();
    assert_eq!(
        (error.kind(), error.status()),
        (ErrorKind::Conflict, Some(409))
    );
    assert_eq!(client.get_model("iris").unwrap().labels, ["one", "two"]);
    assert_eq!(client.get_model(1).unwrap().name, "iris");
    #[allow(deprecated)]
    let by_id = client.get_model_by_id(1).unwrap();
    assert_eq!(by_id.name, "iris");
    let error = client.get_model("no such model").unwrap_err();
    assert!(error.is_not_found(), "{error}");
    model.set_labels(["three"]).unwrap();
    model.set_description("d2").unwrap();
    model.archive().unwrap();
    assert!(model.archived);
    model.unarchive().unwrap();
    assert!(!model.archived);
    assert_eq!(
        model.last_updated_time.unwrap().to_string(),
        "2026-11-23T20:11:39.089798Z"
    );
    assert_eq!(
        (model.model_id, model.workspace_id, model.username.as_str()),
        (1, Some(1), "determined")
    );
    model.reload().unwrap();
    for query in [
        ModelQuery::new(),
        ModelQuery::new()
            .sort_by(ModelSortBy::CreationTime)
            .order_by(OrderBy::Descending),
        ModelQuery::new().name("iri").description("d2"),
        ModelQuery::new().model_id(1),
        ModelQuery::new().workspace_names(["lab one", "zoo"]),
        ModelQuery::new().workspace_ids([1, 2]),
    ] {
        assert_eq!(client.get_models_with(query).unwrap().len(), 1);
    }
    assert_eq!(client.get_model_labels().unwrap(), ["three"]);
    model.delete().unwrap();

    let none = Value::Null;
    let mut expected = vec![
        (
            "POST /api/v1/models",
            json!({
                "name": "iris", "description": "flowers", "labels": ["one", "two"], "metadata": {"k": "v"}, "notes": null,
                "workspaceName": "Uncategorized",
            }),
        ),
        (
            "POST /api/v1/models",
            json!({
                "name": "iris", "description": "", "labels": null, "metadata": null, "notes": null, "workspaceName": null,
            }),
        ),
        ("GET /api/v1/models/iris", none.clone()),
        ("GET /api/v1/models/1", none.clone()),
        ("GET /api/v1/models/1", none.clone()),
        ("GET /api/v1/models/no%20such%20model", none.clone()),
        ("PATCH /api/v1/models/iris", json!({"labels": ["three"]})),
        ("PATCH /api/v1/models/iris", json!({"description": "d2"})),
        ("POST /api/v1/models/iris/archive", none.clone()),
        ("POST /api/v1/models/iris/unarchive", none.clone()),
        ("GET /api/v1/models/iris", none.clone()),
    ];
    expected.extend(lists.iter().map(|call| (call.as_str(), none.clone())));
    expected.push(("GET /api/v1/model/labels", none.clone()));
    expected.push(("DELETE /api/v1/models/iris", none));
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(call, body)| (call.to_owned(), body))
        .collect();
    assert_eq!(calls(&master), expected);
}

#[test]
fn the_calls_on_versions_are_those_of_the_python_sdk() {
    let page = |versions: Vec<Value>| {
        let count = versions.len();
        json!({"model": iris(), "modelVersions": versions, "pagination": {"endIndex": count, "total": count}})
    };
    let mut named = version(1);
    named["name"] = json!("first");
    named["notes"] = json!("some notes");
    let latest =
        "GET /api/v1/models/iris/versions?limit=1&orderBy=ORDER_BY_DESC&sortBy=SORT_BY_VERSION";
    let master = master(vec![
        ("GET /api/v1/models/iris", 200, json!({"model": iris()})),
        (latest, 200, page(vec![])),
        (latest, 200, page(vec![version(2)])),
        (
            "POST /api/v1/models/iris/versions",
            200,
            json!({"modelVersion": version(1)}),
        ),
        (
            "GET /api/v1/models/iris/versions/1",
            200,
            json!({"modelVersion": version(1)}),
        ),
        (
            "GET /api/v1/models/iris/versions/9",
            404,
            error("version 9 for model \"iris\" not found"),
        ),
        (
            "GET /api/v1/models/iris/versions?offset=0&orderBy=ORDER_BY_DESC",
            200,
            page(vec![version(2), version(1)]),
        ),
        (
            "GET /api/v1/models/iris/versions?offset=0&orderBy=ORDER_BY_ASC",
            200,
            page(vec![version(1), version(2)]),
        ),
        (
            "PATCH /api/v1/models/iris/versions/1",
            200,
            json!({"modelVersion": named}),
        ),
        ("DELETE /api/v1/models/iris/versions/1", 200, json!({})),
    ]);
    let model = master.client().get_model("iris").unwrap();

    assert!(model.latest_version().unwrap().is_none());
    let mut first = model
        .register_version("0f5581ff-18d1-4a13-8244-feadd21feee2")
        .unwrap();
    assert_eq!(
        (
            first.model_version,
            first.model_id,
            first.model_name.as_str()
        ),
        (1, 1, "iris")
    );
    assert_eq!(first.checkpoint.resources["w.bin"], 2048);
    assert!(first.checkpoint.training.is_none());
    assert_eq!(model.latest_version().unwrap().unwrap().model_version, 2);
    assert_eq!(model.get_version(1).unwrap().model_version, 1);
    assert!(model.get_version(9).unwrap_err().is_not_found());
    let numbers = |versions: Vec<determined::ModelVersion>| -> Vec<i32> {
        versions
            .iter()
            .map(|version| version.model_version)
            .collect()
    };
    assert_eq!(numbers(model.get_versions().unwrap()), [2, 1]);
    let oldest_first = ModelVersionQuery::new().order_by(OrderBy::Ascending);
    assert_eq!(
        numbers(model.get_versions_with(oldest_first).unwrap()),
        [1, 2]
    );
    first.set_name("first").unwrap();
    first.set_notes("some notes").unwrap();
    assert_eq!(
        (first.name.as_str(), first.notes.as_str()),
        ("first", "some notes")
    );
    first.reload().unwrap();
    assert_eq!(first.name, "");
    first.delete().unwrap();

    let bodies: Vec<_> = calls(&master)
        .into_iter()
        .filter(|(_, body)| !body.is_null())
        .collect();
    let registration =
        json!({"checkpointUuid": "0f5581ff-18d1-4a13-8244-feadd21feee2", "modelName": "iris"});
    assert_eq!(
        bodies,
        [
            ("POST /api/v1/models/iris/versions".to_owned(), registration),
            (
                "PATCH /api/v1/models/iris/versions/1".to_owned(),
                json!({"name": "first"})
            ),
            (
                "PATCH /api/v1/models/iris/versions/1".to_owned(),
                json!({"notes": "some notes"})
            ),
        ]
    );
}

#[test]
fn an_iterator_fetches_page_by_page() {
    let page = |name: &str, end: i32| {
        let mut model = iris();
        model["name"] = json!(name);
        json!({"models": [model], "pagination": {"endIndex": end, "total": 2}})
    };
    let list = "/api/v1/models?limit=1&orderBy=ORDER_BY_ASC&sortBy=SORT_BY_NAME";
    let (first, second) = (
        format!("GET {list}&offset=0"),
        format!("GET {list}&offset=1"),
    );
    let master = master(vec![
        (&first, 200, page("a", 1)),
        (&second, 200, page("b", 2)),
    ]);
    let mut iterator = master
        .client()
        .iter_models_with(ModelQuery::new().page_size(1))
        .unwrap();
    assert_eq!(calls(&master).len(), 1);
    assert_eq!(iterator.next().unwrap().unwrap().name, "a");
    assert_eq!(iterator.next().unwrap().unwrap().name, "b");
    assert!(iterator.next().is_none());
    assert_eq!(calls(&master).len(), 2);
}

#[test]
fn metadata_edits_keep_what_others_added() {
    let mut later = iris();
    later["metadata"] = json!({"k": "v", "theirs": [1, {"q": null}]});
    let added = json!({"k": "new", "theirs": [1, {"q": null}], "mine": "NaN"});
    let removed = json!({"theirs": [1, {"q": null}], "mine": "NaN"});
    let master = master(vec![
        ("GET /api/v1/models/iris", 200, json!({"model": iris()})),
        ("GET /api/v1/models/iris", 200, json!({"model": later})),
        (
            "GET /api/v1/models/iris",
            200,
            changed("metadata", added.clone()),
        ),
        (
            "PATCH /api/v1/models/iris",
            200,
            changed("metadata", added.clone()),
        ),
        (
            "PATCH /api/v1/models/iris",
            200,
            changed("metadata", removed.clone()),
        ),
    ]);
    let mut model = master.client().get_model("iris").unwrap();

    #[derive(serde::Serialize)]
    struct Added {
        k: &'static str,
        mine: f64,
    }
    model
        .add_metadata(Added {
            k: "new",
            mine: f64::NAN,
        })
        .unwrap();
    assert_eq!(model.metadata, *added.as_object().unwrap());
    model.remove_metadata(["k", "absent"]).unwrap();
    assert_eq!(model.metadata, *removed.as_object().unwrap());

    let written: Vec<_> = calls(&master)
        .into_iter()
        .filter(|(_, body)| !body.is_null())
        .collect();
    assert_eq!(
        written,
        [
            (
                "PATCH /api/v1/models/iris".to_owned(),
                json!({"metadata": added})
            ),
            (
                "PATCH /api/v1/models/iris".to_owned(),
                json!({"metadata": removed})
            ),
        ]
    );
}

#[test]
fn a_refused_edit_changes_nothing_here() {
    let archived = "model \"iris\" is archived and cannot have attributes updated";
    let master = master(vec![
        ("GET /api/v1/models/iris", 200, json!({"model": iris()})),
        ("PATCH /api/v1/models/iris", 500, error(archived)),
        ("POST /api/v1/models/iris/archive", 403, error("no")),
    ]);
    let mut model = master.client().get_model("iris").unwrap();
    let error = model.set_description("while archived").unwrap_err();
    assert_eq!(
        (error.kind(), error.server_message()),
        (ErrorKind::Api, Some(archived))
    );
    model.set_labels(["x"]).unwrap_err();
    model.add_metadata(json!({"x": 1})).unwrap_err();
    model.archive().unwrap_err();
    let before = master.client().get_model("iris").unwrap();
    assert_eq!(json!(model), json!(before));
}

#[test]
fn labels_are_what_the_master_made_of_them() {
    let master = master(vec![
        ("GET /api/v1/models/iris", 200, json!({"model": iris()})),
        (
            "PATCH /api/v1/models/iris",
            200,
            changed("labels", json!(["a", "b"])),
        ),
    ]);
    let mut model = master.client().get_model("iris").unwrap();
    model.set_labels(["a", "b", "a"]).unwrap();
    assert_eq!(model.labels, ["a", "b"]);
}

#[test]
fn a_moved_model_knows_its_workspace() {
    let mut moved = iris();
    moved["workspaceId"] = json!(7);
    let master = master(vec![
        ("GET /api/v1/models/iris", 200, json!({"model": iris()})),
        ("GET /api/v1/models/iris", 200, json!({"model": moved})),
        (
            "PATCH /api/v1/models/iris",
            200,
            changed("workspaceId", json!(0)),
        ),
        (
            "PATCH /api/v1/models/iris",
            500,
            error("failed to get workspace nowhere: not found"),
        ),
    ]);
    let mut model = master.client().get_model("iris").unwrap();
    model.move_to_workspace("lab").unwrap();
    assert_eq!(model.workspace_id, Some(7));
    assert_eq!(calls(&master)[1].1, json!({"workspaceName": "lab"}));
    assert!(
        model
            .move_to_workspace("nowhere")
            .unwrap_err()
            .is_not_found()
    );
}

#[test]
fn a_name_that_cannot_stand_in_a_route_goes_by_id() {
    for (name, query) in [
        ("a:archive", "a%3Aarchive"),
        ("..", ".."),
        (".", "."),
        ("a/b", "a%2Fb"),
    ] {
        let mut model = iris();
        model["name"] = json!(name);
        model["id"] = json!(12);
        let mut similar = model.clone();
        similar["name"] = json!(format!("x{name}"));
        let list = format!("GET /api/v1/models?name={query}");
        let master = master(vec![
            (&list, 200, models(json!([similar, model]))),
            ("GET /api/v1/models/12", 200, json!({"model": model})),
            (
                "GET /api/v1/models/12/versions/1",
                200,
                json!({"modelVersion": version(1)}),
            ),
            ("POST /api/v1/models/12/archive", 200, json!({})),
            ("DELETE /api/v1/models/12", 200, json!({})),
        ]);
        let mut model = master.client().get_model(name).unwrap();
        assert_eq!((model.name.as_str(), model.model_id), (name, 12));
        model.reload().unwrap();
        model.archive().unwrap();
        model.get_version(1).unwrap();
        model.delete().unwrap();
    }
}

#[test]
fn every_other_name_is_encoded_byte_by_byte() {
    let route = "GET /api/v1/models/a%20%25%3F%23%2B%C3%BC%0A%27%3B%26%3D...";
    let master = master(vec![(route, 200, json!({"model": iris()}))]);
    master.client().get_model("a %?#+ü\n';&=...").unwrap();
}

#[test]
fn a_near_miss_is_not_found() {
    let list = "GET /api/v1/models?name=a%3Ab";
    let mut other = iris();
    other["name"] = json!("A:b");
    let master = master(vec![(list, 200, models(json!([other])))]);
    let error = master.client().get_model("a:b").unwrap_err();
    assert!(error.is_not_found());
    assert_eq!(
        error.to_string(),
        r#"could not get model "a:b" (GET /api/v1/models): no model is named "a:b"; there is "A:b""#
    );
}

#[test]
fn what_cannot_be_meant_is_refused_before_anything_is_sent() {
    let master = master(vec![(
        "GET /api/v1/models/iris",
        200,
        json!({"model": iris()}),
    )]);
    let client = master.client();
    let mut model = client.get_model("iris").unwrap();
    let labelled = CreateModelOptions::new().labels(["a,b"]);
    let listed = CreateModelOptions::new().metadata([1]);
    let errors = [
        client.create_model("").unwrap_err(),
        client.create_model_with("iris", labelled).unwrap_err(),
        client.create_model_with("iris", listed).unwrap_err(),
        client.get_model("").unwrap_err(),
        client.get_model("12").unwrap_err(),
        client.get_model("012").unwrap_err(),
        client.get_model(0).unwrap_err(),
        client.get_model(-5).unwrap_err(),
        model.set_labels(["fine", "a,b"]).unwrap_err(),
        model.add_metadata("text").unwrap_err(),
        model.move_to_workspace("").unwrap_err(),
        model.register_version("").unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().starts_with("could not "), "{error}");
    }
    assert_eq!(calls(&master).len(), 1);
}

#[test]
fn what_an_older_master_leaves_out_is_none_or_empty() {
    let bare = json!({"model": {"id": 1, "name": "iris", "labels": null, "metadata": null}});
    let versions = json!({"modelVersions": [{"version": 2, "checkpoint": null}, {"version": 1}]});
    let list = "GET /api/v1/models/iris/versions?offset=0&orderBy=ORDER_BY_DESC";
    let master = master(vec![
        ("GET /api/v1/models/1", 200, bare),
        (list, 200, versions),
    ]);
    let model = master.client().get_model(1).unwrap();
    assert_eq!((model.workspace_id, model.creation_time), (None, None));
    assert!(model.labels.is_empty() && model.metadata.is_empty());
    assert_eq!(model.get_versions().unwrap()[1].model_version, 1);
}

#[test]
fn the_metrics_about_a_version_are_read_by_group_or_all() {
    let report = |group: &str, metrics: Value| json!({"trialId": 19, "trialRunId": 1, "totalBatches": 5, "endTime": "2026-11-23T20:04:32.069202Z", "group": group, "metrics": metrics});
    let validation = report(
        "validation",
        json!({"validation_metrics": {"accuracy": "NaN"}}),
    );
    let other = report(
        "other",
        json!({"avg_metrics": {"accuracy": 0.5}, "batch_metrics": null}),
    );
    let all = "GET /api/v1/models/iris/versions/1/metrics?trialSourceInfoType=TRIAL_SOURCE_INFO_TYPE_INFERENCE";
    let some = format!("{all}&metricGroup=validation");
    let master = master(vec![
        ("GET /api/v1/models/iris", 200, json!({"model": iris()})),
        (
            "GET /api/v1/models/iris/versions/1",
            200,
            json!({"modelVersion": version(1)}),
        ),
        (all, 200, json!({"metrics": [validation, other]})),
        (&some, 200, json!({"metrics": [validation]})),
    ]);
    let version = master
        .client()
        .get_model("iris")
        .unwrap()
        .get_version(1)
        .unwrap();
    let accuracy = |group| -> Vec<f64> {
        let reports = version.iter_metrics(group).unwrap();
        reports
            .map(|report| report.unwrap().metric("accuracy").unwrap())
            .collect()
    };
    assert!(matches!(accuracy(None)[..], [nan, 0.5] if nan.is_nan()));
    assert_eq!(accuracy(Some("validation")).len(), 1);
}
