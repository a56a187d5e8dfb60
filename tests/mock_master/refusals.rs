//! What the in-process master refuses, in the words of a real master 0.38.1.

use determined::testing::{MockMaster, MockMasterOptions};
use determined::{
    CreateExperimentOptions, Determined, Error, ErrorKind, ExperimentConfig, ModelDefinition,
    ModelQuery,
};
use serde_json::{Value, json};

const PASSWORD: &str = "Correct-horse-9";

fn log_in(master: &MockMaster, user: &str) -> determined::Result<Determined> {
    Determined::new(master.login_options().user(user).password(PASSWORD))
}

fn start() -> (MockMaster, Determined) {
    let master = MockMaster::start_with(MockMasterOptions::new().password(PASSWORD));
    let admin = log_in(&master, "admin").unwrap();
    (master, admin)
}

fn said<T: std::fmt::Debug>(result: Result<T, Error>) -> (ErrorKind, String) {
    let error = result.unwrap_err();
    (
        error.kind(),
        error.server_message().unwrap_or("").to_owned(),
    )
}

#[test]
fn edits_of_a_project_that_its_database_does_not_take() -> determined::Result<()> {
    let (_master, admin) = start();
    let workspace = admin.create_workspace("w")?;
    let mut project = workspace.create_project("one")?;
    let mut other = workspace.create_project("two")?;
    other.set_key("KEY")?;
    let taken = "error updating project two: row already exists";
    assert_eq!(said(project.set_name("two")).1, taken);
    let long = "x".repeat(81);
    assert_eq!(
        said(project.set_name(&long)).1,
        format!(
            "error updating project {long}: ERROR: new row for relation \"projects\" violates check constraint \
             \"namemax\" (SQLSTATE 23514)"
        )
    );
    assert_eq!(
        said(workspace.create_project(&long)).1,
        format!(
            "error creating project {long} in database: rpc error: code = Internal desc = internal server error"
        )
    );
    let in_use = "project key KEY is already in use".to_owned();
    assert_eq!(said(project.set_key("key")), (ErrorKind::Conflict, in_use));
    Ok(())
}

#[test]
fn the_owner_of_a_project_alone_may_not_rename_it_but_anyone_may_write_notes()
-> determined::Result<()> {
    let (master, admin) = start();
    admin.create_workspace("w")?.create_project("theirs")?;
    let client = log_in(&master, "determined")?;
    let workspace = client.get_workspace("w")?;
    let mut own = workspace.create_project("own")?;
    let why = "can't set project name: non admin users need to own the project or workspace";
    assert_eq!(
        said(own.set_name("new")),
        (ErrorKind::Forbidden, why.to_owned())
    );
    own.archive()?;
    let mut theirs = workspace.get_project("theirs")?;
    theirs.add_note("n", "by another")?;
    assert_eq!(theirs.notes.len(), 1);
    Ok(())
}

#[test]
fn a_user_who_was_deactivated_has_no_permission() -> determined::Result<()> {
    let (master, admin) = start();
    let client = log_in(&master, "determined")?;
    admin.get_user_by_name("determined")?.deactivate()?;
    let why = "user does not have permission".to_owned();
    assert_eq!(said(client.whoami()), (ErrorKind::Forbidden, why));
    let error = client.whoami().unwrap_err().to_string();
    assert!(
        error.ends_with("the user may have been deactivated: ask an administrator of the cluster")
    );
    let error = log_in(&master, "determined").unwrap_err();
    assert_eq!(error.server_message(), Some("user is not active"));
    assert!(
        error
            .to_string()
            .ends_with("ask an administrator of the cluster to activate the user again")
    );
    Ok(())
}

#[test]
fn models_of_others_stay_and_unknown_workspaces_are_no_filter() -> determined::Result<()> {
    let (master, admin) = start();
    admin.create_model("theirs")?;
    let client = log_in(&master, "determined")?;
    let why = "non-admin users may not delete other users' models access denied".to_owned();
    let model = client.get_model("theirs")?;
    assert_eq!(said(model.delete()), (ErrorKind::Forbidden, why));
    let query = ModelQuery::new().workspace_names(["no such workspace"]);
    assert_eq!(client.get_models_with(query)?.len(), 1);
    Ok(())
}

/// A paused experiment with these further keys in its configuration.
fn submit(client: &Determined, more: &str) -> determined::Result<determined::Experiment> {
    let text =
        format!("name: x\nentrypoint: 'true'\nsearcher: {{name: single, metric: m}}\n{more}");
    client.create_experiment_with(
        ExperimentConfig::from_yaml(text)?,
        ModelDefinition::none(),
        CreateExperimentOptions::new().activate(false),
    )
}

#[test]
fn a_configuration_names_absolute_paths_and_nothing_that_is_gone() {
    let (_master, admin) = start();
    for (more, why) in [
        (
            "bind_mounts: [{host_path: here, container_path: /there}]",
            "<config>.bind_mounts[0].host_path: host_path must be an absolute path",
        ),
        (
            "tensorboard_storage: {}",
            "<config>.tensorboard_storage: this field is deprecated and will be ignored",
        ),
    ] {
        let said = said(submit(&admin, more));
        assert!(said.1.ends_with(why), "{said:?}");
        assert_eq!(said.0, ErrorKind::ExperimentConfig);
    }
}

#[test]
fn a_change_of_an_experiment_writes_its_description_and_labels_anew() -> determined::Result<()> {
    let (_master, admin) = start();
    let mut experiment = submit(&admin, "labels: [a, 'b,c', a]")?;
    assert_eq!(experiment.labels, ["a", "b,c"]);
    let mut plain = submit(&admin, "")?;
    assert_eq!(
        (&plain.config["description"], &plain.config["labels"]),
        (&Value::Null, &json!([]))
    );
    plain.set_notes("new")?;
    plain.reload()?;
    assert_eq!(
        (&plain.config["description"], &plain.config["labels"]),
        (&json!(""), &Value::Null)
    );
    assert!(plain.labels.is_empty());
    experiment.set_labels(Vec::<String>::new())?;
    experiment.reload()?;
    assert_eq!(experiment.config["labels"], json!([]));
    Ok(())
}
