//! Workspaces, projects and resource pools: what is sent, and what is made of the answers.

mod support;

use std::time::Duration;

use determined::{CancelToken, CreateProjectOptions, DeleteOptions, ErrorKind};
use serde_json::{Value, json};
use support::table::{calls, error, master};

fn lab() -> Value {
    json!({
        "id": 6, "name": "lab", "archived": false, "username": "admin", "immutable": false, "numProjects": 2, "pinned": true, "userId": 1,
        "numExperiments": 5, "state": "WORKSPACE_STATE_UNSPECIFIED", "errorMessage": "", "defaultComputePool": "", "defaultAuxPool": "",
    })
}

fn workspaces(names: &[&str]) -> Value {
    let named = names.iter().zip(1..).map(|(name, id)| {
        let mut workspace = lab();
        workspace["name"] = json!(name);
        workspace["id"] = json!(id);
        workspace
    });
    json!({"workspaces": named.collect::<Vec<_>>(), "pagination": {"endIndex": names.len(), "total": names.len()}})
}

fn project() -> Value {
    json!({
        "id": 3, "name": "proj", "workspaceId": 6, "description": "words", "lastExperimentStartedAt": null, "notes": [],
        "numExperiments": 4, "numActiveExperiments": 1, "archived": false, "username": "admin", "immutable": false, "userId": 1,
        "workspaceName": "lab", "state": "WORKSPACE_STATE_UNSPECIFIED", "errorMessage": "", "key": "PRO2J", "numRuns": 0,
    })
}

fn project_with(field: &str, value: Value) -> Value {
    let mut project = project();
    project[field] = value;
    json!({"project": project})
}

#[test]
fn the_calls_on_workspaces_and_projects_are_those_of_the_python_sdk() {
    let projects = json!({"projects": [project()], "pagination": {"endIndex": 1, "total": 1}});
    let two_notes =
        json!([{"name": "n1", "contents": "hello"}, {"name": "n2", "contents": "there"}]);
    let master = master(vec![
        (
            "POST /api/v1/workspaces",
            200,
            json!({"workspace": lab(), "namespaceBindings": {}}),
        ),
        (
            "POST /api/v1/workspaces",
            409,
            error("avoid names equal to other workspaces (case-insensitive)"),
        ),
        (
            "GET /api/v1/workspaces?name=lab",
            200,
            json!({"workspaces": [lab()], "pagination": {"endIndex": 1, "total": 1}}),
        ),
        ("GET /api/v1/workspaces/6", 200, json!({"workspace": lab()})),
        (
            "GET /api/v1/workspaces?offset=0",
            200,
            workspaces(&["Uncategorized", "lab"]),
        ),
        (
            "POST /api/v1/workspaces/6/projects",
            200,
            json!({"project": project()}),
        ),
        (
            "GET /api/v1/workspaces/6/projects?name=proj",
            200,
            projects.clone(),
        ),
        ("GET /api/v1/workspaces/6/projects?offset=0", 200, projects),
        (
            "GET /api/v1/workspaces/6/available-resource-pools?offset=0",
            200,
            json!({"resourcePools": ["default"], "pagination": {"endIndex": 1, "total": 1}}),
        ),
        (
            "PATCH /api/v1/projects/3",
            200,
            project_with("description", json!("x")),
        ),
        (
            "PATCH /api/v1/projects/3",
            200,
            project_with("key", json!("ABC")),
        ),
        (
            "PATCH /api/v1/projects/3",
            200,
            project_with("name", json!("proj2")),
        ),
        (
            "GET /api/v1/projects/3",
            200,
            project_with("notes", json!([{"name": "n1", "contents": "hello"}])),
        ),
        (
            "GET /api/v1/projects/3",
            200,
            project_with("notes", two_notes.clone()),
        ),
        (
            "PUT /api/v1/projects/3/notes",
            200,
            json!({"notes": two_notes}),
        ),
        (
            "PUT /api/v1/projects/3/notes",
            200,
            json!({"notes": [{"name": "n2", "contents": "there"}]}),
        ),
        ("POST /api/v1/projects/3/archive", 200, json!({})),
        ("POST /api/v1/projects/3/unarchive", 200, json!({})),
        (
            "GET /api/v1/experiments?offset=0&projectId=3",
            200,
            json!({"experiments": [], "pagination": {}}),
        ),
        ("DELETE /api/v1/projects/3", 200, json!({"completed": true})),
        (
            "DELETE /api/v1/workspaces/6",
            200,
            json!({"completed": true}),
        ),
    ]);
    let client = master.client();

    let mut workspace = client.create_workspace("lab").unwrap();
    assert_eq!(
        client.create_workspace("lab").unwrap_err().kind(),
        ErrorKind::Conflict
    );
    assert_eq!(client.get_workspace("lab").unwrap().id, 6);
    assert_eq!(client.get_workspace(6).unwrap().name, "lab");
    workspace.reload().unwrap();
    assert_eq!((workspace.num_projects, workspace.num_experiments), (2, 5));
    assert_eq!(client.list_workspaces().unwrap().len(), 2);
    let options = CreateProjectOptions::new().description("words");
    let mut project = workspace.create_project_with("proj", options).unwrap();
    workspace.create_project("proj").unwrap();
    assert_eq!(
        (project.n_experiments, project.n_active_experiments),
        (4, 1)
    );
    assert_eq!(workspace.get_project("proj").unwrap().workspace_id, 6);
    assert_eq!(workspace.list_projects().unwrap().len(), 1);
    assert_eq!(workspace.list_pools().unwrap()[0].name, "default");
    project.set_description("x").unwrap();
    project.set_key("abc").unwrap();
    project.set_name("proj2").unwrap();
    assert_eq!(
        (
            project.description.as_str(),
            project.key.as_deref(),
            project.name.as_str()
        ),
        ("x", Some("ABC"), "proj2")
    );
    project.add_note("n2", "there").unwrap();
    assert_eq!(project.notes.len(), 2);
    project.remove_note("n1").unwrap();
    assert_eq!(project.notes[0].name, "n2");
    project.archive().unwrap();
    assert!(project.archived);
    project.unarchive().unwrap();
    assert!(!project.archived);
    assert!(project.list_experiments().unwrap().is_empty());
    workspace.delete_project("proj").unwrap();
    client.delete_workspace("lab").unwrap();

    let bodies: Vec<_> = calls(&master)
        .into_iter()
        .map(|(_, body)| body)
        .filter(|body| !body.is_null())
        .collect();
    assert_eq!(
        bodies,
        [
            json!({"name": "lab"}),
            json!({"name": "lab"}),
            json!({"name": "proj", "workspaceId": 6, "description": "words"}),
            json!({"name": "proj", "workspaceId": 6, "description": null}),
            json!({"description": "x"}),
            json!({"key": "abc"}),
            json!({"name": "proj2"}),
            json!({"notes": [{"name": "n1", "contents": "hello"}, {"name": "n2", "contents": "there"}], "projectId": 3}),
            json!({"notes": [{"name": "n2", "contents": "there"}], "projectId": 3}),
        ]
    );
}

#[test]
fn only_a_workspace_or_project_of_exactly_that_name_is_acted_on() {
    let similar = json!({"projects": [project()]});
    let master = master(vec![
        (
            "GET /api/v1/workspaces?name=spec_ws",
            200,
            workspaces(&["spec-ws", "SPEC_WS", "spec_ws"]),
        ),
        (
            "GET /api/v1/workspaces?name=100%25",
            200,
            workspaces(&["100 of them"]),
        ),
        (
            "GET /api/v1/workspaces?name=a%5C%5Cb",
            200,
            workspaces(&["a\\b"]),
        ),
        (
            "GET /api/v1/workspaces?name=Lab",
            200,
            json!({"workspaces": [lab()]}),
        ),
        ("GET /api/v1/workspaces/6", 200, json!({"workspace": lab()})),
        ("GET /api/v1/workspaces/6/projects?name=pro_", 200, similar),
    ]);
    let client = master.client();
    assert_eq!(client.get_workspace("spec_ws").unwrap().id, 3);
    assert!(client.delete_workspace("100%").unwrap_err().is_not_found());
    assert_eq!(client.get_workspace("a\\b").unwrap().id, 1);
    assert_eq!(
        client.get_workspace("Lab").unwrap_err().to_string(),
        r#"could not get workspace "Lab" (GET /api/v1/workspaces): no workspace is named "Lab"; there is "lab""#
    );
    let workspace = client.get_workspace(6).unwrap();
    assert!(workspace.delete_project("pro_").unwrap_err().is_not_found());
}

#[test]
fn a_note_whose_name_is_not_unique_is_left_alone() {
    let notes = json!([{"name": "n", "contents": "1"}, {"name": "n", "contents": "2"}]);
    let master = master(vec![(
        "GET /api/v1/projects/3",
        200,
        project_with("notes", notes),
    )]);
    let mut project = master.client().get_project(3).unwrap();
    for (name, said) in [("n", "2 notes are named"), ("absent", "no note is named")] {
        let error = project.remove_note(name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(said), "{error}");
    }
    assert!(
        calls(&master)
            .iter()
            .all(|(call, _)| call.starts_with("GET "))
    );
}

#[test]
fn a_deletion_is_waited_for_if_wanted() {
    let state = |state: &str, message: &str| {
        let mut workspace = lab();
        workspace["state"] = json!(format!("WORKSPACE_STATE_{state}"));
        workspace["errorMessage"] = json!(message);
        json!({"workspace": workspace})
    };
    let rows = |then: Vec<(u16, Value)>| {
        let mut rows = vec![
            ("GET /api/v1/workspaces/6", 200, json!({"workspace": lab()})),
            (
                "DELETE /api/v1/workspaces/6",
                200,
                json!({"completed": false}),
            ),
        ];
        rows.extend(
            then.into_iter()
                .map(|(status, body)| ("GET /api/v1/workspaces/6", status, body)),
        );
        master(rows)
    };
    let deleting = || (200, state("DELETING", ""));
    let patient = || DeleteOptions::new().wait(Duration::from_secs(60));

    let gone = rows(vec![deleting(), (404, error("workspace '6' not found"))]);
    gone.client().delete_workspace_with(6, patient()).unwrap();
    assert_eq!(calls(&gone).len(), 4);

    let unasked = rows(vec![deleting()]);
    unasked.client().delete_workspace(6).unwrap();
    assert_eq!(calls(&unasked).len(), 2);

    let failed = rows(vec![
        deleting(),
        (200, state("DELETE_FAILED", "an experiment is running")),
    ]);
    let error = failed
        .client()
        .delete_workspace_with(6, patient())
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.server_message()),
        (ErrorKind::Api, Some("an experiment is running"))
    );

    let slow = rows(vec![deleting()]);
    let impatient = DeleteOptions::new().wait(Duration::from_millis(50));
    let error = slow
        .client()
        .delete_workspace_with(6, impatient)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WaitTimeout);
    assert!(
        error
            .to_string()
            .starts_with("could not delete workspace \"lab\""),
        "{error}"
    );

    let token = CancelToken::new();
    token.cancel();
    let untouched = rows(vec![deleting()]);
    let error = untouched
        .client()
        .delete_workspace_with(6, patient().cancel(&token))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}

#[test]
fn bindings_of_a_pool_are_added_replaced_and_removed() {
    let pools = json!({"resourcePools": [{"name": "default"}, {"name": "gpu a"}], "pagination": {"endIndex": 2, "total": 2}});
    let bindings = "/api/v1/resource-pools/gpu%20a/workspace-bindings";
    let [add, remove, replace, list] =
        ["POST ", "DELETE ", "PUT ", "GET "].map(|method| method.to_owned() + bindings);
    let list = list + "?offset=0";
    let master = master(vec![
        ("GET /api/v1/resource-pools?offset=0", 200, pools),
        (&add, 200, json!({})),
        (&replace, 200, json!({})),
        (&remove, 500, error("binding doesn't exist")),
        (
            &list,
            200,
            json!({"workspaceIds": [6], "pagination": {"endIndex": 1, "total": 1}}),
        ),
        ("GET /api/v1/workspaces/6", 200, json!({"workspace": lab()})),
    ]);
    let client = master.client();
    let pool = client.get_resource_pool("gpu a").unwrap();
    assert!(client.get_resource_pool("gpu").unwrap_err().is_not_found());
    pool.add_bindings(["lab", "zoo"]).unwrap();
    pool.replace_bindings(["lab"]).unwrap();
    assert_eq!(
        pool.remove_bindings(["zoo"]).unwrap_err().kind(),
        ErrorKind::Api
    );
    let workspaces = pool.list_workspaces().unwrap();
    assert_eq!((workspaces[0].id, workspaces[0].name.as_str()), (6, "lab"));

    let bodies: Vec<_> = calls(&master)
        .into_iter()
        .filter(|(_, body)| !body.is_null())
        .collect();
    assert_eq!(
        bodies,
        [
            (
                add,
                json!({"resourcePoolName": "gpu a", "workspaceNames": ["lab", "zoo"]})
            ),
            (
                replace,
                json!({"resourcePoolName": "gpu a", "workspaceNames": ["lab"]})
            ),
            (
                remove,
                json!({"resourcePoolName": "gpu a", "workspaceNames": ["zoo"]})
            ),
        ]
    );
}

#[test]
fn what_cannot_be_meant_is_refused_before_anything_is_sent() {
    let master = master(vec![
        ("GET /api/v1/workspaces/6", 200, json!({"workspace": lab()})),
        ("GET /api/v1/projects/3", 200, json!({"project": project()})),
    ]);
    let client = master.client();
    let workspace = client.get_workspace(6).unwrap();
    let mut project = client.get_project(3).unwrap();
    let errors = [
        client.get_workspace("").unwrap_err(),
        client.create_workspace("").unwrap_err(),
        client.delete_workspace("").unwrap_err(),
        workspace.create_project("").unwrap_err(),
        workspace.get_project("").unwrap_err(),
        workspace.delete_project("").unwrap_err(),
        project.set_name("").unwrap_err(),
        client.get_resource_pool("").unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().starts_with("could not "), "{error}");
    }
    assert_eq!(calls(&master).len(), 2);
}

#[test]
fn a_master_whose_projects_have_no_keys_is_too_old_to_set_one() {
    let bare = json!({"project": {"id": 3, "name": "proj", "workspaceId": 6, "notes": null}});
    let master = master(vec![
        ("GET /api/v1/projects/3", 200, bare.clone()),
        ("PATCH /api/v1/projects/3", 200, bare),
    ]);
    let mut project = master.client().get_project(3).unwrap();
    assert_eq!(project.key, None);
    let error = project.set_key("ABC").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}
