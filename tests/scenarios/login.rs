//! Logging in.

use determined::{Determined, ErrorKind};

use crate::replay::{PASSWORD, Replay};

#[test]
fn an_unknown_user_is_refused() {
    let mut replay = Replay::start("login_unknown_user");
    let options = replay.login_options("nobody-here", "x");
    let call = "Determined(master=URL, user='nobody-here', password='x')";
    replay.raises(call, ErrorKind::Unauthenticated, Determined::new(options));
    replay.finish();
}

#[test]
fn a_wrong_password_is_refused() {
    let mut replay = Replay::start("login_wrong_password");
    let options = replay.login_options("determined", "nope");
    let call = "Determined(master=URL, user=U, password='nope')";
    replay.raises(call, ErrorKind::Unauthenticated, Determined::new(options));
    replay.finish();
}

#[test]
fn a_password_logs_in() {
    let mut replay = Replay::start("login_password");
    let options = replay.login_options("determined", PASSWORD);
    let call = "Determined(master=URL, user=U, password=P)";
    let client = Determined::new(options);
    let client = replay.logged_in(call, client);
    replay.returns("d.whoami()", client.whoami());
    let username = client.get_session_username();
    replay.returns("d.get_session_username()", Ok(username));
    replay.finish();
}
