//! Calls on models, users, workspaces and what else a cluster has.

use determined::{
    Checkpoint, CreateModelOptions, CreateProjectOptions, CreateUserOptions, Determined,
    Experiment, ModelQuery, ModelSortBy as MS, ModelVersionQuery, OrderBy, Result, UserQuery,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::script::{NONE, ORDERS, Script, word};

pub fn workspaces(
    script: &mut Script<'_>,
    client: &Determined,
    experiment: &mut Experiment,
) -> Result<()> {
    let created = client.create_workspace("lab é");
    let mut workspace = script.same("w = d.create_workspace('lab é')", created)?;
    for name in ["lab é", "no&pe=+", "a/b%"] {
        let got = script.same(
            &format!("d.get_workspace('{name}')"),
            client.get_workspace(name),
        );
        assert_eq!(got.is_ok(), name == "lab é");
    }
    script.same("d.list_workspaces()", client.list_workspaces())?;
    let done = workspace.reload();
    script.same("w.reload()", done)?;
    script.same("w.list_pools()", workspace.list_pools())?;
    let options = CreateProjectOptions::new().description("desc");
    let created = workspace.create_project_with("p q", options);
    let mut project = script.same("p = w.create_project('p q', 'desc')", created)?;
    script.same(
        "w.create_project('second')",
        workspace.create_project("second"),
    )?;
    script.same("w.get_project('p q')", workspace.get_project("p q"))?;
    script.same("w.list_projects()", workspace.list_projects())?;
    let odd = "x/y?&é%";
    script.same(
        &format!("w.create_project('{odd}', '')"),
        workspace.create_project_with(odd, CreateProjectOptions::new().description("")),
    )?;
    script.same(
        &format!("w.get_project('{odd}')"),
        workspace.get_project(odd),
    )?;
    let none = script.same("w.get_project('none')", workspace.get_project("none"));
    assert!(none.unwrap_err().is_not_found());
    script.same(
        &format!("w.delete_project('{odd}')"),
        workspace.delete_project(odd),
    )?;
    let done = project.set_name("r é");
    script.same("p.set_name('r é')", done)?;
    let done = project.set_description("");
    script.same("p.set_description('')", done)?;
    let done = project.set_key("abc");
    script.same("p.set_key('abc')", done)?;
    let done = project.archive();
    script.same("p.archive()", done)?;
    let done = project.unarchive();
    script.same("p.unarchive()", done)?;
    let done = project.reload();
    script.same("p.reload()", done)?;
    let done = project.add_note("n1", "c1");
    script.same("p.add_note('n1', 'c1')", done)?;
    let done = project.add_note("n2", "");
    script.same("p.add_note('n2', '')", done)?;
    let done = project.remove_note("n1");
    script.same("p.remove_note('n1')", done)?;
    let refused = project.remove_note("zzz");
    assert!(script.same("p.remove_note('zzz')", refused).is_err());
    script.same("p.list_experiments()", project.list_experiments())?;
    let done = experiment.move_to_project("lab é", "r é");
    script.same("e.move_to_project('lab é', 'r é')", done)?;
    Ok(())
}

pub fn models(script: &mut Script<'_>, client: &Determined, uuid: &str) -> Result<()> {
    #[derive(Serialize)]
    struct Numbers {
        k: f64,
        l: [i32; 1],
    }
    let created = client.create_model("iris");
    let mut model = script.same("m = d.create_model('iris')", created)?;
    let options = CreateModelOptions::new()
        .description("desc")
        .metadata(Numbers {
            k: f64::NAN,
            l: [1],
        })
        .labels(["a", "b c"])
        .workspace_name("lab é");
    script.same(
        "d.create_model('full é', 'desc', {'k': nan, 'l': [1]}, ['a', 'b c'], 'lab é')",
        client.create_model_with("full é", options),
    )?;
    for name in ["iris", "full é", "zz", "100%", "x?y", "q#r", "s+t&u=v"] {
        let got = script.same(&format!("d.get_model('{name}')"), client.get_model(name));
        assert_eq!(got.is_ok(), ["iris", "full é"].contains(&name));
    }
    script.same("d.get_model(1)", client.get_model(1))?;
    #[allow(deprecated)]
    let by_id = client.get_model_by_id(1);
    script.same("d.get_model_by_id(1)", by_id)?;
    let empty = CreateModelOptions::new()
        .description("")
        .metadata(json!({}))
        .labels(NONE);
    script.same(
        "d.create_model('empty', '', {}, [])",
        client.create_model_with("empty", empty),
    )?;
    let all = ModelQuery::new;
    script.same("d.list_models()", client.get_models())?;
    script.same(
        "d.list_models(workspace_names=['lab é'])",
        client.get_models_with(all().workspace_names(["lab é"])),
    )?;
    script.same(
        "d.list_models(workspace_ids=[1])",
        client.get_models_with(all().workspace_ids([1])),
    )?;
    for key in [
        MS::Name,
        MS::Description,
        MS::CreationTime,
        MS::LastUpdatedTime,
        MS::NumVersions,
        MS::Workspace,
    ] {
        for order in ORDERS {
            script.same(
                &format!(
                    "d.list_models(ModelSortBy.{}, OrderBy.{})",
                    word(key),
                    word(order)
                ),
                client.get_models_with(all().sort_by(key).order_by(order)),
            )?;
        }
    }
    let filtered = all()
        .name("i_%")
        .description("d é")
        .model_id(1)
        .workspace_names(["lab é", "x&y"])
        .workspace_ids([1, 2]);
    script.same(
        "d.list_models(name='i_%', description='d é', model_id=1, workspace_names=['lab é', 'x&y'], workspace_ids=[1, 2])",
        client.get_models_with(filtered),
    )?;
    script.same(
        "d.list_models(name='', description='', model_id=0, workspace_names=[], workspace_ids=[])",
        client.get_models_with(all().name("").description("").model_id(0)),
    )?;
    script.same("d.get_model_labels()", client.get_model_labels())?;
    let done = model.set_description("é");
    script.same("m.set_description('é')", done)?;
    let done = model.set_labels(["x", "y z"]);
    script.same("m.set_labels(['x', 'y z'])", done)?;
    let done = model.set_labels(NONE);
    script.same("m.set_labels([])", done)?;
    script.first("GET /api/v1/models/iris");
    let done = model.add_metadata(json!({"a": 1, "inf": "Infinity"}));
    script.same("m.add_metadata({'a': 1, 'inf': inf})", done)?;
    script.first("GET /api/v1/models/iris");
    let done = model.remove_metadata(["a"]);
    script.same("m.remove_metadata(['a'])", done)?;
    // The answer does not say which workspace it is now.
    let body = json!({"workspaceName": "lab é"});
    script.rather(&[
        ("PATCH /api/v1/models/iris", body),
        ("GET /api/v1/models/iris", Value::Null),
    ]);
    let done = model.move_to_workspace("lab é");
    script.same("m.move_to_workspace('lab é')", done)?;

    script.same("m.get_version()", model.latest_version())?;
    let registered = model.register_version(uuid);
    let mut version = script.same("v = m.register_version(c.uuid)", registered)?;
    script.same("m.get_version(1)", model.get_version(1))?;
    let refused = script.same("m.get_version(99)", model.get_version(99));
    assert!(refused.unwrap_err().is_not_found());
    script.same("m.list_versions()", model.get_versions())?;
    let oldest_first = ModelVersionQuery::new().order_by(OrderBy::Ascending);
    script.same(
        "m.list_versions(OrderBy.ASC)",
        model.get_versions_with(oldest_first),
    )?;
    let done = version.set_name("é");
    script.same("v.set_name('é')", done)?;
    let done = version.set_notes("");
    script.same("v.set_notes('')", done)?;
    let done = version.reload();
    script.same("v.reload()", done)?;
    script.same(
        "list(v.iter_metrics())",
        version.iter_metrics(None).map(Iterator::count),
    )?;
    script.same(
        "list(v.iter_metrics('g h'))",
        version.iter_metrics("g h").map(Iterator::count),
    )?;
    script.same("v.delete()", version.delete())?;
    let done = model.reload();
    script.same("m.reload()", done)?;
    let done = model.archive();
    script.same("m.archive()", done)?;
    let done = model.unarchive();
    script.same("m.unarchive()", done)?;
    script.same("m.delete()", model.delete())?;
    a_name_that_must_be_encoded(script, client, uuid)
}

fn a_name_that_must_be_encoded(
    script: &mut Script<'_>,
    client: &Determined,
    uuid: &str,
) -> Result<()> {
    let name = "é ?#%25+&;=";
    let created = client.create_model(name);
    let mut model = script.same(&format!("m = d.create_model('{name}')"), created)?;
    let done = model.reload();
    script.same("m.reload()", done)?;
    let done = model.set_description("d");
    script.same("m.set_description('d')", done)?;
    let registered = model.register_version(uuid);
    let mut version = script.same("v = m.register_version(c.uuid)", registered)?;
    let done = version.set_notes("n");
    script.same("v.set_notes('n')", done)?;
    script.same(
        "list(v.iter_metrics('validation'))",
        version.iter_metrics("validation").map(Iterator::count),
    )?;
    script.same("m.get_version()", model.latest_version())?;
    script.same("m.list_versions()", model.get_versions())?;
    let done = model.archive();
    script.same("m.archive()", done)?;
    let done = model.unarchive();
    script.same("m.unarchive()", done)?;
    script.same("v.delete()", version.delete())?;
    script.same("m.delete()", model.delete())
}

pub fn users(script: &mut Script<'_>, client: &Determined) -> Result<()> {
    let created = client.create_user("kim", false, "Sekret.123");
    let mut user = script.same("u = d.create_user('kim', False, 'Sekret.123')", created)?;
    script.same(
        "d.create_user('lee', True, 'Sekret.123')",
        client.create_user("lee", true, "Sekret.123"),
    )?;
    let remote = CreateUserOptions::new().remote(true);
    script.same(
        "d.create_user('rem', False, remote=True)",
        client.create_user_with("rem", false, remote),
    )?;
    for name in ["kim", "no one", "a:b", "é", "x?y#z%+&"] {
        let call = format!("d.get_user_by_name('{name}')");
        let got = script.same(&call, client.get_user_by_name(name));
        assert_eq!(got.is_ok(), name == "kim");
    }
    script.same("d.get_user_by_id(1)", client.get_user_by_id(1))?;
    script.same("d.whoami()", client.whoami())?;
    script.same("d.list_users()", client.list_users())?;
    for (active, word) in [(true, "True"), (false, "False")] {
        let query = UserQuery::new().active(active);
        let call = format!("d.list_users(active={word})");
        script.same(&call, client.list_users_with(query))?;
    }
    let done = user.rename("kim2");
    script.same("u.rename('kim2')", done)?;
    let done = user.change_display_name("Kim K.");
    script.same("u.change_display_name('Kim K.')", done)?;
    let done = user.change_display_name("");
    script.same("u.change_display_name('')", done)?;
    script.same(
        "u.change_password('Other.1234')",
        user.change_password("Other.1234"),
    )?;
    let done = user.deactivate();
    script.same("u.deactivate()", done)?;
    let done = user.activate();
    script.same("u.activate()", done)?;
    let done = user.link_with_agent(1, 2, "a", "b");
    script.same("u.link_with_agent(1, 2, 'a', 'b')", done)?;
    let done = user.unlink_from_agent();
    script.same("u.link_with_agent()", done)?;
    let done = user.reload();
    script.same("u.reload()", done)?;
    Ok(())
}

pub fn rest(
    script: &mut Script<'_>,
    client: &Determined,
    experiment: &Experiment,
    checkpoint: &Checkpoint,
) -> Result<()> {
    let pool = client.get_resource_pool("default")?;
    let workspace = client.get_workspace("lab é")?;
    script.master.clear_requests();
    // The default pool cannot be bound, and there are no OAuth clients here.
    let added = pool.add_bindings(["lab é", "z"]);
    assert!(
        script
            .same("r.add_bindings(['lab é', 'z'])", added)
            .is_err()
    );
    let removed = pool.remove_bindings(["lab é"]);
    assert!(
        script
            .same("r.remove_bindings(['lab é'])", removed)
            .is_err()
    );
    let replaced = pool.replace_bindings(NONE);
    assert!(script.same("r.replace_bindings([])", replaced).is_err());
    script.same("r.list_workspaces()", pool.list_workspaces())?;
    let listed = script.same("d.list_oauth_clients()", client.list_oauth_clients());
    assert!(listed.is_err());
    let added = client.add_oauth_client("https://x", "n");
    let added = script.same("d.add_oauth_client('https://x', 'n')", added);
    assert!(added.is_err());
    let removed = client.remove_oauth_client("7");
    assert!(script.same("d.remove_oauth_client('7')", removed).is_err());
    script.same(
        "w.delete_project('second')",
        workspace.delete_project("second"),
    )?;
    script.same("c.delete()", checkpoint.delete())?;
    script.same("e.delete()", experiment.delete())?;
    // The workspace still holds a model.
    let deleted = client.delete_workspace("lab é");
    assert!(script.same("d.delete_workspace('lab é')", deleted).is_err());
    script.same("d.logout()", client.logout())?;
    Ok(())
}
