//! Workspaces and projects.

use determined::{CreateProjectOptions, ErrorKind};

use crate::replay::Replay;

#[test]
fn workspaces_and_their_projects() {
    let mut replay = Replay::start("workspaces_projects");
    let client = replay.client("admin");
    let w = replay.returns("d.create_workspace('lab')", client.create_workspace("lab"));
    replay.raises(
        "d.create_workspace('lab')",
        ErrorKind::Conflict,
        client.create_workspace("lab"),
    );
    replay.returns("d.get_workspace('lab')", client.get_workspace("lab"));
    replay.raises(
        "d.get_workspace('missing')",
        ErrorKind::NotFound,
        client.get_workspace("missing"),
    );
    replay.returns("d.list_workspaces()", client.list_workspaces());

    let options = CreateProjectOptions::new().description("words");
    let mut p = replay.returns(
        "w.create_project('proj', 'words')",
        w.create_project_with("proj", options),
    );
    replay.raises(
        "w.create_project('proj')",
        ErrorKind::Conflict,
        w.create_project("proj"),
    );
    replay.returns("w.get_project('proj')", w.get_project("proj"));
    replay.raises(
        "w.get_project('absent')",
        ErrorKind::NotFound,
        w.get_project("absent"),
    );
    replay.returns("w.list_projects()", w.list_projects());
    replay.returns("w.list_pools()", w.list_pools());

    replay.returns("p.set_description('x')", p.set_description("x"));
    replay.returns("p.set_key('ABC')", p.set_key("ABC"));
    replay.returns("p.set_name('proj2')", p.set_name("proj2"));
    assert_eq!(
        (p.name.as_str(), p.key.as_deref(), p.description.as_str()),
        ("proj2", Some("ABC"), "x")
    );
    replay.returns("p.add_note('n1', 'hello')", p.add_note("n1", "hello"));
    replay.returns("p.add_note('n2', 'there')", p.add_note("n2", "there"));
    assert_eq!(p.notes.len(), 2);
    replay.returns("p.remove_note('n1')", p.remove_note("n1"));
    replay.returns("p.archive()", p.archive());
    assert!(p.archived);
    replay.returns("p.unarchive()", p.unarchive());
    replay.returns("p.reload()", p.reload());
    replay.returns("p.notes", Ok(&p.notes));
    replay.returns("p.list_experiments()", p.list_experiments());
    replay.returns("w.delete_project('proj2')", w.delete_project("proj2"));
    replay.returns("w.list_projects()", w.list_projects());
    replay.returns("d.delete_workspace('lab')", client.delete_workspace("lab"));
    replay.raises(
        "d.get_workspace('lab')",
        ErrorKind::NotFound,
        client.get_workspace("lab"),
    );
    replay.finish();
}
