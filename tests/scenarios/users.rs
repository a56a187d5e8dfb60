//! Users.

use determined::{ErrorKind, UserQuery};

use crate::replay::Replay;

#[test]
fn users_are_made_and_changed() {
    let mut replay = Replay::start("users");
    let client = replay.client("admin");
    let name = "kim1795464704";
    let mut u = replay.returns(
        "d.create_user(name, False, 'Sekret.123')",
        client.create_user(name, false, "Sekret.123"),
    );
    replay.raises(
        "d.create_user(name, False, 'Sekret.123')",
        ErrorKind::Conflict,
        client.create_user(name, false, "Sekret.123"),
    );
    replay.returns("d.get_user_by_name(name)", client.get_user_by_name(name));
    replay.returns("d.get_user_by_id(uid)", client.get_user_by_id(u.user_id));
    replay.raises(
        "d.get_user_by_name('no-one')",
        ErrorKind::NotFound,
        client.get_user_by_name("no-one"),
    );
    replay.returns("d.whoami()", client.whoami());

    replay.returns(
        "u.change_display_name('Kim K')",
        u.change_display_name("Kim K"),
    );
    assert_eq!(u.display_name, "Kim K");
    replay.returns(
        "u.link_with_agent(1000, 1000, 'kim', 'kim')",
        u.link_with_agent(1000, 1000, "kim", "kim"),
    );
    assert_eq!(
        (u.agent_uid, u.agent_group.as_deref()),
        (Some(1000), Some("kim"))
    );
    replay.returns(
        "u.change_password('Other.1234')",
        u.change_password("Other.1234"),
    );
    replay.returns("u.deactivate()", u.deactivate());
    assert!(!u.active);
    replay.returns("u.reload()", u.reload());
    replay.returns("u.activate()", u.activate());
    assert!(u.active);
    replay.returns("u.rename(name + 'x')", u.rename("kim1795464704x"));
    replay.returns("u.reload()", u.reload());
    assert_eq!(u.username, "kim1795464704x");
    replay.returns("d.list_users()", client.list_users());
    replay.returns(
        "d.list_users(active=True)",
        client.list_users_with(UserQuery::new().active(true)),
    );
    replay.finish();
}
