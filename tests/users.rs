//! Users and OAuth clients: what is sent, and what is made of the answers.

mod support;

use determined::{CreateUserOptions, ErrorKind, UserQuery};
use serde_json::{Value, json};
use support::table::{calls, error, master};

fn kim() -> Value {
    json!({
        "id": 3, "username": "kim", "admin": false, "active": true, "agentUserGroup": null, "displayName": "",
        "modifiedAt": "2026-11-23T20:11:46.440306Z", "remote": false,
    })
}

fn kim_with(field: &str, value: Value) -> Value {
    let mut user = kim();
    user[field] = value;
    json!({"user": user})
}

/// The hash of `Sekret.123`.
const SEKRET: &str = "0b21ea7b509b2b899be53827c7798217e12f852cd7fdd9dca61534c00a2a19d0e0bf09f1ef5d87b0c11d31bbfc163a3366df8990b8f21db85ea7cbbe5b3cf85c";
/// The hash of `Other.1234`.
const OTHER: &str = "5eb49c6c5315d6e7f4cb2c0eea0debe4b4157916c1008033e0f796676d80ede45ff2327ec43b6335e5cdbe2ea6e38c98464d1ed9c0a194ce0703e6903c3b5e1b";

#[test]
fn the_calls_on_users_are_those_of_the_python_sdk() {
    let kim_agent =
        json!({"agentUid": 1000, "agentGid": 1001, "agentUser": "kim", "agentGroup": "staff"});
    let nobody = json!({"agentUid": 0, "agentGid": 0, "agentUser": "", "agentGroup": ""});
    let users = json!({"users": [kim()], "pagination": {"endIndex": 1, "total": 1}});
    let master = master(vec![
        ("POST /api/v1/users", 200, json!({"user": kim()})),
        (
            "POST /api/v1/users",
            500,
            error("code=400, message=user already exists"),
        ),
        ("POST /api/v1/users", 200, kim_with("remote", json!(true))),
        (
            "GET /api/v1/users/kim/by-username",
            200,
            json!({"user": kim()}),
        ),
        (
            "GET /api/v1/users/no-one/by-username",
            404,
            error("user not found"),
        ),
        ("GET /api/v1/me", 200, json!({"user": kim()})),
        ("PATCH /api/v1/users/3", 200, json!({"user": kim()})),
        ("GET /api/v1/users/3", 200, json!({"user": kim()})),
        (
            "GET /api/v1/users/3",
            200,
            kim_with("displayName", json!("Kim K")),
        ),
        (
            "GET /api/v1/users/3",
            200,
            kim_with("agentUserGroup", kim_agent),
        ),
        (
            "GET /api/v1/users/3",
            200,
            kim_with("agentUserGroup", nobody),
        ),
        ("GET /api/v1/users/3", 200, kim_with("active", json!(false))),
        ("GET /api/v1/users/3", 200, kim_with("active", json!(true))),
        (
            "GET /api/v1/users/3",
            200,
            kim_with("username", json!("kimx")),
        ),
        ("GET /api/v1/users?offset=0", 200, users.clone()),
        ("GET /api/v1/users?active=true&offset=0", 200, users),
    ]);
    let client = master.client();

    let mut user = client.create_user("kim", false, "Sekret.123").unwrap();
    assert_eq!(
        (user.user_id, user.agent_uid, user.remote),
        (3, None, false)
    );
    assert_eq!(
        client
            .create_user("kim", false, "Sekret.123")
            .unwrap_err()
            .kind(),
        ErrorKind::Conflict
    );
    let remote = CreateUserOptions::new().remote(true);
    assert!(client.create_user_with("kim", true, remote).unwrap().remote);
    assert_eq!(client.get_user_by_name("kim").unwrap().username, "kim");
    assert!(
        client
            .get_user_by_name("no-one")
            .unwrap_err()
            .is_not_found()
    );
    assert_eq!(client.whoami().unwrap().user_id, 3);
    user.reload().unwrap();
    user.change_display_name("Kim K").unwrap();
    assert_eq!(user.display_name, "Kim K");
    user.link_with_agent(1000, 1001, "kim", "staff").unwrap();
    assert_eq!((user.agent_uid, user.agent_gid), (Some(1000), Some(1001)));
    assert_eq!(
        (user.agent_user.as_deref(), user.agent_group.as_deref()),
        (Some("kim"), Some("staff"))
    );
    user.unlink_from_agent().unwrap();
    assert_eq!((user.agent_uid, user.agent_group.as_deref()), (None, None));
    user.change_password("Other.1234").unwrap();
    user.deactivate().unwrap();
    assert!(!user.active);
    user.activate().unwrap();
    assert!(user.active);
    user.rename("kimx").unwrap();
    assert_eq!(user.username, "kimx");
    assert_eq!(client.list_users().unwrap().len(), 1);
    assert_eq!(
        client
            .list_users_with(UserQuery::new().active(true))
            .unwrap()
            .len(),
        1
    );

    let bodies: Vec<_> = calls(&master)
        .into_iter()
        .map(|(_, body)| body)
        .filter(|body| !body.is_null())
        .collect();
    let new = json!({"username": "kim", "admin": false, "active": true, "remote": false});
    let new_remote = json!({"username": "kim", "admin": true, "active": true, "remote": true});
    assert_eq!(
        bodies,
        [
            json!({"isHashed": true, "password": SEKRET, "user": new}),
            json!({"isHashed": true, "password": SEKRET, "user": new}),
            json!({"isHashed": true, "password": null, "user": new_remote}),
            json!({"displayName": "Kim K"}),
            json!({"agentUserGroup": {"agentUid": 1000, "agentGid": 1001, "agentUser": "kim", "agentGroup": "staff"}}),
            json!({"agentUserGroup": {"agentUid": null, "agentGid": null, "agentUser": null, "agentGroup": null}}),
            json!({"isHashed": true, "password": OTHER}),
            json!({"active": false}),
            json!({"active": true}),
            json!({"username": "kimx"}),
        ]
    );
}

#[test]
fn a_weak_password_is_refused_with_every_rule_it_breaks() {
    let master = master(vec![]);
    let error = master
        .client()
        .create_user("kim", false, "sekret")
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "could not create user \"kim\": the password is too simple: it has fewer than 8 characters, it has no upper-case letter, \
         it has no digit"
    );
}

#[test]
fn a_user_whose_name_cannot_stand_in_a_route_is_found_in_the_list() {
    let mut slash = kim();
    slash["username"] = json!("kim/lee");
    let users = json!({"users": [kim(), slash], "pagination": {"endIndex": 2, "total": 2}});
    let master = master(vec![("GET /api/v1/users?offset=0", 200, users)]);
    assert_eq!(
        master
            .client()
            .get_user_by_name("kim/lee")
            .unwrap()
            .username,
        "kim/lee"
    );
    assert!(
        master
            .client()
            .get_user_by_name("..")
            .unwrap_err()
            .is_not_found()
    );
}

#[test]
fn oauth_clients_need_the_enterprise_edition() {
    let missing = |call: &str| json!({"message": format!("api not found: {call}")});
    let open = master(vec![
        ("GET /oauth2/clients", 404, missing("GET /oauth2/clients")),
        ("POST /oauth2/clients", 404, missing("POST /oauth2/clients")),
        (
            "DELETE /oauth2/clients/a%2Fb",
            404,
            missing("DELETE /oauth2/clients/a/b"),
        ),
    ]);
    let client = open.client();
    for error in [
        client.list_oauth_clients().unwrap_err(),
        client
            .add_oauth_client("https://app.example", "app")
            .unwrap_err(),
        client.remove_oauth_client("a/b").unwrap_err(),
    ] {
        assert_eq!(
            (error.kind(), error.status()),
            (ErrorKind::EnterpriseOnly, Some(404))
        );
        assert!(error.to_string().contains("Enterprise Edition"), "{error}");
    }

    let enterprise = master(vec![
        (
            "GET /oauth2/clients",
            200,
            json!([{"id": "c1", "domain": "d", "name": "n", "secret": "hash"}]),
        ),
        (
            "POST /oauth2/clients",
            200,
            json!({"id": "c1", "secret": "s3cret-of-app"}),
        ),
        ("DELETE /oauth2/clients/c1", 200, json!({})),
        (
            "DELETE /oauth2/clients/c2",
            404,
            json!({"message": "no client c2"}),
        ),
    ]);
    let client = enterprise.client();
    let listed = client.list_oauth_clients().unwrap();
    assert_eq!(
        (listed[0].id.as_str(), listed[0].secret.as_deref()),
        ("c1", None)
    );
    let added = client
        .add_oauth_client("https://app.example", "app")
        .unwrap();
    assert_eq!(
        (added.domain.as_str(), added.name.as_str()),
        ("https://app.example", "app")
    );
    assert_eq!(added.secret.as_deref(), Some("s3cret-of-app"));
    assert!(!format!("{added:?}").contains("s3cret"));
    client.remove_oauth_client("c1").unwrap();
    assert!(client.remove_oauth_client("c2").unwrap_err().is_not_found());
}

#[test]
fn what_cannot_be_meant_is_refused_before_anything_is_sent() {
    let master = master(vec![("GET /api/v1/users/3", 200, json!({"user": kim()}))]);
    let client = master.client();
    let mut user = client.get_user_by_id(3).unwrap();
    let neither = CreateUserOptions::new();
    let both = CreateUserOptions::new().password("Sekret.123").remote(true);
    let errors = [
        client.get_user_by_name("").unwrap_err(),
        client.create_user("", false, "Sekret.123").unwrap_err(),
        client.create_user("kim", false, "").unwrap_err(),
        client.create_user_with("kim", false, neither).unwrap_err(),
        client.create_user_with("kim", false, both).unwrap_err(),
        user.rename("").unwrap_err(),
        user.change_password("sekret").unwrap_err(),
        user.link_with_agent(1000, 1000, "kim", "").unwrap_err(),
        client.add_oauth_client("", "app").unwrap_err(),
        client
            .add_oauth_client("https://app.example", "")
            .unwrap_err(),
        client.remove_oauth_client("").unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().starts_with("could not "), "{error}");
    }
    assert_eq!(calls(&master).len(), 1);
}

#[test]
fn an_older_master_may_leave_fields_and_filters_out() {
    let old =
        json!({"id": 3, "username": "kim", "admin": false, "active": true, "agentUserGroup": null});
    let mut gone = old.clone();
    gone["active"] = json!(false);
    let rest = json!({"id": 4, "username": "lee"});
    let users = json!({"users": [old, gone, rest], "pagination": {"endIndex": 3, "total": 3}});
    let master = master(vec![
        ("GET /api/v1/users?active=true&offset=0", 200, users.clone()),
        ("GET /api/v1/users?active=false&offset=0", 200, users),
    ]);
    let names = |active| -> Vec<String> {
        let query = UserQuery::new().active(active);
        let users = master.client().list_users_with(query).unwrap();
        users.into_iter().map(|user| user.username).collect()
    };
    assert_eq!(names(true), ["kim", "lee"]);
    assert_eq!(names(false), ["kim"]);
}

#[test]
fn an_older_master_is_not_left_with_a_user_whose_password_is_blank() {
    let old =
        |active| json!({"user": {"id": 3, "username": "kim", "admin": false, "active": active}});
    let master = master(vec![
        ("POST /api/v1/users", 200, old(true)),
        ("PATCH /api/v1/users/3", 200, old(false)),
        ("GET /api/v1/users/3", 200, old(false)),
    ]);
    let remote = CreateUserOptions::new().remote(true);
    let error = master
        .client()
        .create_user_with("kim", false, remote)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let deactivation = ("PATCH /api/v1/users/3".to_owned(), json!({"active": false}));
    assert!(calls(&master).contains(&deactivation));
}
