//! What the errors say that people meet first: what happened, to what, and what to do. A text that changes, changes here.

mod support;

use std::fmt::Debug;
use std::fs;
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use determined::testing::{Clock, MockMaster, MockMasterOptions};
use determined::{
    CancelToken, CheckpointChoice, CreateExperimentOptions, Determined, DownloadOptions, ErrorKind,
    LoginOptions, MetricOrder, Result, TokenStore, WaitOptions, client,
};
use serde_json::{Value, json};
use support::tls::TlsMaster;
use support::{After, RawMaster, answer, options};

/// The kind and the text of a failure. In the text, `shown` says what stands for what differs from run to run.
#[track_caller]
fn says<T: Debug>(result: Result<T>, kind: ErrorKind, shown: &[(&str, &str)], expected: &str) {
    let error = result.unwrap_err();
    let mut text = error.to_string();
    for (real, name) in shown {
        text = text.replace(real, name);
    }
    // Systems number their errors differently.
    if let Some((before, after)) = text.clone().split_once("(os error ") {
        let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
        text = format!("{before}(os error N{after}");
    }
    assert_eq!((error.kind(), text.as_str()), (kind, expected));
}

/// Options that name neither a user nor anything else, in an empty environment.
fn nobody() -> LoginOptions {
    LoginOptions::new()
        .token_store(TokenStore::None)
        .environment([("HOME", "/nonexistent")])
}

/// A server of another kind, which answers everything like this.
fn other_server(
    reply: impl Fn(&mut TcpStream) -> io::Result<After> + Send + Sync + 'static,
) -> String {
    RawMaster::start_bare(move |_, stream| reply(stream)).url
}

#[test]
fn no_master_is_there() {
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    says(
        Determined::new(options(&format!("http://{address}"))),
        ErrorKind::MasterNotFound,
        &[(&address, "HOST:PORT")],
        "could not log in as \"kim\" at http://HOST:PORT (POST /api/v1/auth/login): cannot connect to HOST:PORT: Connection refused \
         (os error N); is the master running, and is this its URL? It comes from LoginOptions::master or DET_MASTER",
    );
    // No name server is asked for a name that is too long for one.
    let host = "d".repeat(70);
    says(
        Determined::new(options(&format!("https://{host}"))),
        ErrorKind::MasterNotFound,
        &[(&host, "det.invalid")],
        "could not log in as \"kim\" at https://det.invalid:443 (POST /api/v1/auth/login): the host name \"det.invalid\" does not \
         resolve to an address; is the master running, and is this its URL? It comes from LoginOptions::master or DET_MASTER",
    );
    let proxied =
        options("http://det.example").proxy(determined::Proxy::Url(format!("http://{address}")));
    says(
        Determined::new(proxied),
        ErrorKind::MasterNotFound,
        &[(&address, "HOST:PORT")],
        "could not log in as \"kim\" at http://det.example:80 (POST /api/v1/auth/login): cannot connect to the proxy HOST:PORT: \
         Connection refused (os error N); it comes from LoginOptions::proxy, http_proxy, https_proxy or all_proxy",
    );
}

#[test]
fn no_master_was_named() {
    if TcpStream::connect("localhost:8080").is_ok() {
        return; // somebody listens where a master is looked for
    }
    let text = Determined::new(nobody()).unwrap_err().to_string();
    // In between stands what the system says, of one address or the other.
    let (before, after) = (
        "could not log in as \"determined\" at http://localhost:8080 (POST /api/v1/auth/login): cannot connect to localhost:8080: ",
        "; no master was named, so the default was tried; name yours with LoginOptions::master or DET_MASTER",
    );
    assert!(text.starts_with(before) && text.ends_with(after), "{text}");
}

#[test]
fn a_url_cannot_be_a_masters() {
    for (url, expected) in [
        (
            "ftp://det.example",
            "\"ftp://det.example\" cannot be a master URL: its scheme is neither http nor https",
        ),
        (
            "https://kim:secret@det.example",
            "this cannot be a master URL: it holds a user name or password, which belong to the login",
        ),
        (
            "det.example:99999",
            "\"det.example:99999\" cannot be a master URL: its port is not between 1 and 65535",
        ),
        (
            "https:/det.example",
            "\"https:/det.example\" cannot be a master URL: two slashes are missing after its scheme",
        ),
    ] {
        says(
            Determined::new(options(url)),
            ErrorKind::InvalidInput,
            &[],
            expected,
        );
    }
}

#[test]
fn the_login_is_refused() {
    let master = MockMaster::start_with(MockMasterOptions::new().password("Right-1"));
    let url = master.url();
    let shown = [(url.as_str(), "URL")];
    says(
        Determined::new(master.login_options().password("Wrong-1")),
        ErrorKind::Unauthenticated,
        &shown,
        "could not log in as \"determined\" at URL (POST /api/v1/auth/login): 401 Unauthorized: invalid credentials; check the user name and \
         the password, which come from login() or from DET_USER and DET_PASS",
    );
    says(
        Determined::new(nobody().master(&url)),
        ErrorKind::Unauthenticated,
        &shown,
        "could not log in as \"determined\" at URL (POST /api/v1/auth/login): 401 Unauthorized: invalid credentials; neither login() nor \
         DET_USER with DET_PASS nor the token store names a user and a password, so determined was tried with a blank one",
    );
    says(
        Determined::new(nobody().master(&url).user("kim")),
        ErrorKind::Unauthenticated,
        &shown,
        "could not log in at URL: there is no valid token for user \"kim\", and no password was given; call login() with \
         LoginOptions::password, or run `det user login kim`",
    );
    let stale = [("DET_USER", "kim"), ("DET_USER_TOKEN", "stale")];
    says(
        Determined::new(nobody().master(&url).environment(stale))
            .and_then(|client| client.whoami()),
        ErrorKind::Unauthenticated,
        &shown,
        "could not get the user who is logged in (GET /api/v1/me): 401 Unauthorized: invalid credentials; the token in DET_USER_TOKEN is not \
         valid: set another, or call login() with a user and password",
    );
    let client = master.determined();
    client.logout().unwrap();
    says(
        client.whoami(),
        ErrorKind::Unauthenticated,
        &shown,
        "could not get the user who is logged in (GET /api/v1/me): this client has logged out; make a new one, or call login() again",
    );
}

#[test]
fn the_default_client_exists_already() {
    let master = MockMaster::start();
    client::login(master.login_options()).unwrap();
    says(
        client::login(master.login_options()),
        ErrorKind::AlreadyLoggedIn,
        &[],
        "could not log in: the default client exists already; call login() once and before any other call, or logout() first; for a second \
         client use Determined::new",
    );
}

#[test]
fn another_server_answers() {
    let page = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>";
    let with =
        |status, body: &'static [u8]| other_server(move |stream| answer(stream, status, &[], body));
    let ssh = |stream: &mut TcpStream| {
        stream.write_all(b"SSH-2.0-OpenSSH_9.2p1\r\n")?;
        Ok(After::Close)
    };
    for (url, kind, expected) in [
        (
            with(200, page),
            ErrorKind::InvalidResponse,
            "the answer is not JSON but begins with \"<!DOCTYPE html>\\n<html><head><title>Sign in</title></head></h\": this is not the answer \
             of a Determined master; check the URL; a proxy or a login page may stand in between",
        ),
        (
            with(404, page),
            ErrorKind::InvalidResponse,
            "404 Not Found: a web page with the title \"Sign in\"; this is not how a Determined master answers: check the URL, its port and \
             its path",
        ),
        (
            with(404, b"{\"detail\": \"Not Found\"}"),
            ErrorKind::InvalidResponse,
            "404 Not Found; this is not how a Determined master answers: check the URL, its port and its path",
        ),
        (
            with(502, b"<html><title>502 Bad Gateway</title></html>"),
            ErrorKind::Api,
            "502 Bad Gateway: a web page with the title \"502 Bad Gateway\"; another server answers in the master's place: check the URL, and \
             proxies",
        ),
        (
            other_server(ssh),
            ErrorKind::InvalidResponse,
            "the answer is not HTTP as expected: http parse fail: invalid HTTP version; check the URL and its port: one that speaks TLS is \
             reached with https://",
        ),
        (
            other_server(|_| Ok(After::Close)),
            ErrorKind::Connection,
            "the connection was cut: Peer disconnected",
        ),
    ] {
        says(
            Determined::new(options(&url)),
            kind,
            &[(&url, "URL")],
            &format!("could not log in as \"kim\" at URL (POST /api/v1/auth/login): {expected}"),
        );
    }
}

#[test]
fn tls_fails() {
    let master = TlsMaster::start("det.internal", false);
    let expired = TlsMaster::start("127.0.0.1", true);
    let today = determined::Timestamp::now().strftime("%F").to_string();
    let go = other_server(|stream| {
        let text =
            b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
        stream.write_all(text)?;
        Ok(After::Close)
    });
    let (plain, go_as_https) = (
        master.url.replace("https:", "http:"),
        go.replace("http:", "https:"),
    );
    for (options, kind, url, expected) in [
        (
            master.options(),
            ErrorKind::Tls,
            &master.url,
            "the master's certificate is signed by an authority that is not trusted; name its CA certificate with LoginOptions::cert_path or \
             DET_MASTER_CERT_FILE",
        ),
        (
            master.options().cert_pem(master.authority.clone()),
            ErrorKind::Tls,
            &master.url,
            "the master's certificate is for det.internal, not for 127.0.0.1; if it is the right master, give the name with \
             LoginOptions::cert_name or DET_MASTER_CERT_NAME",
        ),
        (
            expired.options().cert_pem(expired.authority.clone()),
            ErrorKind::Tls,
            &expired.url,
            "the master's certificate has expired: it was valid until 2001-01-01, and here it is TODAY",
        ),
        (
            master.options().cert_pem("no certificate"),
            ErrorKind::Tls,
            &master.url,
            "the given certificate cannot be used: there is no certificate in it; it must be PEM text with the certificate of the authority \
             (CA)",
        ),
        (
            options(&plain),
            ErrorKind::InvalidResponse,
            &plain,
            "the answer is not HTTP as expected: http parse fail: invalid HTTP version; check the URL and its port: one that speaks TLS is \
             reached with https://",
        ),
        (
            options(&go),
            ErrorKind::Api,
            &go,
            "400 Bad Request: Client sent an HTTP request to an HTTPS server.",
        ),
        (
            options(&go_as_https),
            ErrorKind::Tls,
            &go_as_https,
            "the connection was cut during the TLS handshake; is this an https port? A plain master is reached with http://",
        ),
    ] {
        says(
            Determined::new(options),
            kind,
            &[(url, "URL"), (&today, "TODAY")],
            &format!("could not log in as \"kim\" at URL (POST /api/v1/auth/login): {expected}"),
        );
    }
    says(
        Determined::new(master.options().cert_path("/nonexistent/ca.pem")),
        ErrorKind::Io,
        &[(&master.url, "URL")],
        "could not log in at URL: cannot read the certificate file /nonexistent/ca.pem: No such file or directory (os error N)",
    );
}

/// A configuration that a master takes.
fn config() -> Value {
    json!({
        "name": "tiny",
        "entrypoint": "python3 train.py",
        "searcher": {"name": "single", "metric": "loss", "max_length": 1},
    })
}

#[test]
fn the_configuration_cannot_be_used() {
    let master = MockMaster::start();
    let client = master.determined();
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().display().to_string();
    let here = env!("CARGO_MANIFEST_DIR");
    let refused = |result: Result<_>, kind, expected: &str| {
        let expected = format!("could not create the experiment{expected}");
        says(result, kind, &[(&place, "DIR"), (here, "HERE")], &expected);
    };
    refused(
        client.create_experiment("my_config.yaml", "src"),
        ErrorKind::Io,
        ": cannot read the experiment configuration my_config.yaml: No such file or directory (os error N); a relative path begins at the \
         current directory, HERE",
    );
    refused(
        client.create_experiment("name: x\nentrypoint: y", "src"),
        ErrorKind::Io,
        ": cannot read the experiment configuration name: x entrypoint: y: No such file or directory (os error N); a string is the path of a \
         file; ExperimentConfig::from_yaml takes YAML text",
    );
    for (yaml, expected) in [
        (
            "name: x\nsearcher:\n  name: single\n   metric: loss\n",
            "mapping values are not allowed in this context at line 4 column 10",
        ),
        (
            "name: x\nsearcher:\n\tname: single\n",
            "found character that cannot start any token at line 3 column 1, while scanning for the next token; YAML is indented with blanks, \
             not with tabs",
        ),
        (
            "name: x\nlabels: []\nname: y\n",
            "duplicate key \"name\" at line 3 column 1",
        ),
    ] {
        let path = directory.path().join("config.yaml");
        fs::write(&path, yaml).unwrap();
        refused(
            client.create_experiment(&path, "src"),
            ErrorKind::ExperimentConfig,
            &format!(": experiment configuration DIR/config.yaml: {expected}"),
        );
    }
    for (config, expected) in [
        (
            json!({"name": "x"}),
            "managed experiments require entrypoint",
        ),
        (
            json!({"entrypoint": "x", "nam": "x", "searcher": config()["searcher"]}),
            "invalid experiment configuration: version 0 experiment config is invalid: config is invalid: <config>: additionalProperties \
             \"nam\" not allowed",
        ),
    ] {
        refused(
            client.create_experiment(config, "src"),
            ErrorKind::ExperimentConfig,
            &format!(" (POST /api/v1/experiments): 500 Internal Server Error: {expected}"),
        );
    }
    refused(
        client.create_experiment_with(
            config(),
            "src",
            CreateExperimentOptions::new().project_id(99),
        ),
        ErrorKind::NotFound,
        " (POST /api/v1/experiments): 404 Not Found: project '99' not found",
    );
}

#[test]
fn the_model_directory_cannot_be_used() {
    let master = MockMaster::start();
    let client = master.determined();
    let directory = tempfile::tempdir().unwrap();
    let here = env!("CARGO_MANIFEST_DIR");
    let refused = |model_def: &Path, include: Option<&str>, expected: &str| {
        let options = CreateExperimentOptions::new().includes(include);
        says(
            client.create_experiment_with(config(), model_def, options),
            ErrorKind::InvalidInput,
            &[(here, "HERE")],
            &format!("could not create the experiment: {expected}"),
        );
    };
    refused(
        Path::new("nowhere"),
        None,
        "the model directory \"nowhere\" does not exist; a relative path begins at the current directory, HERE",
    );
    refused(
        Path::new("Cargo.toml"),
        None,
        "the model directory Cargo.toml is not a directory; a single file can be sent as an include",
    );
    refused(
        directory.path(),
        Some("../lib"),
        "the include \"../lib\" does not exist; a relative path begins at the current directory, HERE",
    );
    let file = fs::File::create(directory.path().join("data.bin")).unwrap();
    file.set_len(200 << 20).unwrap();
    refused(
        directory.path(),
        None,
        "the model definition holds more than 99614720 bytes (95 MiB), the most that a master takes; the largest so far is data.bin with \
         209715200 bytes; leave files out with a .detignore file",
    );
}

#[test]
fn there_is_no_such_thing() {
    let master = MockMaster::start();
    let client = master.determined();
    let workspace = client.get_workspace("Uncategorized").unwrap();
    for (error, expected) in [
        (
            client.get_experiment(99).unwrap_err(),
            "could not get experiment 99 (GET /api/v1/experiments/99): 404 Not Found: experiment '99' not found",
        ),
        (
            client.get_model("iris").unwrap_err(),
            "could not get model \"iris\" (GET /api/v1/models/iris): 404 Not Found: model \"iris\" not found",
        ),
        (
            client.get_workspace("uncategorized").unwrap_err(),
            "could not get workspace \"uncategorized\" (GET /api/v1/workspaces): no workspace is named \"uncategorized\"; there is \
             \"Uncategorized\"",
        ),
        (
            workspace.get_project("vision").unwrap_err(),
            "could not get project \"vision\" of workspace \"Uncategorized\" (GET /api/v1/workspaces/1/projects): no project is named \
             \"vision\"",
        ),
    ] {
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(error.to_string(), expected);
    }
    client.create_model("iris").unwrap();
    says(
        client.create_model("iris"),
        ErrorKind::Conflict,
        &[],
        "could not create model \"iris\" (POST /api/v1/models): 409 Conflict: avoid names equal to other models (case-sensitive); \
         get_model() gets the one that exists",
    );
}

#[test]
fn what_was_wanted_stands_first_whatever_is_looked_up_on_the_way_to_it() {
    let master = MockMaster::start();
    let client = master.determined();
    let workspace = client.get_workspace("Uncategorized").unwrap();
    let mut model = client.create_model("iris").unwrap();
    let mut experiment = master.experiment().create();
    let trial = experiment.await_first_trial().unwrap();
    let uuid = "00000000-0000-0000-0000-000000000001";
    let mut checkpoint = experiment.top_checkpoint().unwrap();
    let sight = client.create_workspace("sight").unwrap();
    let mut project = sight.create_project("seeing").unwrap();
    let kept = checkpoint.uuid.clone();
    model.delete().unwrap();
    experiment.delete().unwrap();
    sight.delete_project("seeing").unwrap();
    for (error, expected) in [
        (
            client.delete_workspace("lab").unwrap_err(),
            "could not delete workspace \"lab\" (GET /api/v1/workspaces): no workspace is named \"lab\"",
        ),
        (
            client.delete_workspace(99).unwrap_err(),
            "could not delete workspace 99 (GET /api/v1/workspaces/99): 404 Not Found: workspace '99' not found",
        ),
        (
            workspace.delete_project("vision").unwrap_err(),
            "could not delete project \"vision\" of workspace \"Uncategorized\" (GET /api/v1/workspaces/1/projects): no project is named \
             \"vision\"",
        ),
        (
            experiment.move_to_project("lab", "vision").unwrap_err(),
            "could not move experiment 1 to project \"vision\" of workspace \"lab\" (GET /api/v1/workspaces): no workspace is named \"lab\"",
        ),
        (
            experiment
                .move_to_project("Uncategorized", "vision")
                .unwrap_err(),
            "could not move experiment 1 to project \"vision\" of workspace \"Uncategorized\" (GET /api/v1/workspaces/1/projects): no project \
             is named \"vision\"",
        ),
        (
            experiment.add_label("a/b").unwrap_err(),
            "could not change the labels of experiment 1 (GET /api/v1/experiments/1): 404 Not Found: experiment '1' not found",
        ),
        (
            experiment.top_checkpoint().unwrap_err(),
            "could not get the best checkpoint of experiment 1 (GET /api/v1/experiments/1/checkpoints): 404 Not Found: experiment '1' not found",
        ),
        (
            trial
                .select_checkpoint(CheckpointChoice::Uuid(uuid.to_owned()))
                .unwrap_err(),
            "could not select checkpoint 00000000-0000-0000-0000-000000000001 of trial 1 \
             (GET /api/v1/checkpoints/00000000-0000-0000-0000-000000000001): 404 Not Found: checkpoint '00000000-0000-0000-0000-000000000001' \
             not found",
        ),
        (
            checkpoint.add_metadata(json!({"a": 1})).unwrap_err(),
            "could not add metadata to checkpoint UUID (GET /api/v1/checkpoints/UUID): 404 Not Found: checkpoint 'UUID' not found",
        ),
        (
            checkpoint.download().unwrap_err(),
            "could not download checkpoint UUID (GET /api/v1/checkpoints/UUID): 404 Not Found: checkpoint 'UUID' not found",
        ),
        (
            model.remove_metadata(["a"]).unwrap_err(),
            "could not remove metadata from model \"iris\" (GET /api/v1/models/iris): 404 Not Found: model \"iris\" not found",
        ),
        (
            project.add_note("a", "b").unwrap_err(),
            "could not add a note to project \"seeing\" (GET /api/v1/projects/2): 404 Not Found: project '2' not found",
        ),
    ] {
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(error.to_string().replace(&kept, "UUID"), expected);
    }
    says(
        model.register_version(""),
        ErrorKind::InvalidInput,
        &[],
        "could not register a checkpoint as a version of model \"iris\": the uuid of the checkpoint is empty",
    );
}

#[test]
fn no_checkpoint_can_be_used() {
    let master = MockMaster::start();
    let experiment = master.experiment().create();
    let by_accuracy = MetricOrder::new()
        .sort_by("accuracy")
        .smaller_is_better(false);
    says(
        experiment.top_checkpoint_with(by_accuracy),
        ErrorKind::CheckpointUnavailable,
        &[],
        "could not get the best checkpoint of experiment 1: none of its 6 completed checkpoints has the metric \"accuracy\" as a finite \
         number; their metrics are acc, val_loss",
    );
    let best = experiment.top_checkpoint().unwrap();
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("mine.txt"), "mine").unwrap();
    let place = directory.path().display().to_string();
    says(
        best.download_with(DownloadOptions::new().path(directory.path())),
        ErrorKind::InvalidInput,
        &[(&place, "DIR"), (&best.uuid, "UUID")],
        "could not download checkpoint UUID: DIR cannot be used: it is not empty, and holds no download of this checkpoint; give another \
         path, or remove what is there",
    );
    best.delete().unwrap();
    says(
        best.download_with(DownloadOptions::new().path(directory.path().join("new"))),
        ErrorKind::CheckpointUnavailable,
        &[(&best.uuid, "UUID")],
        "could not download checkpoint UUID: its files are deleted",
    );

    let master = MockMaster::start_with(MockMasterOptions::new().clock(Clock::Manual));
    says(
        master.experiment().create().top_checkpoint(),
        ErrorKind::CheckpointUnavailable,
        &[],
        "could not get the best checkpoint of experiment 1: it has no completed checkpoint; if it has run, its state and the logs() of its \
         trials say why",
    );
}

#[test]
fn a_wait_ends_without_an_end() {
    let master = MockMaster::start_with(MockMasterOptions::new().clock(Clock::Manual));
    let experiment = master.experiment().create();
    says(
        experiment.wait_with(WaitOptions::new().timeout(Duration::from_millis(50))),
        ErrorKind::WaitTimeout,
        &[],
        "could not wait for experiment 1: it took longer than 0.05 s; the experiment goes on",
    );
    let token = CancelToken::new();
    token.cancel();
    says(
        experiment.wait_with(WaitOptions::new().cancel(&token)),
        ErrorKind::Cancelled,
        &[],
        "could not wait for experiment 1: cancelled",
    );
    experiment.pause().unwrap();
    says(
        experiment.wait(),
        ErrorKind::ExperimentPaused,
        &[],
        "could not wait for experiment 1: the experiment is paused; activate() it, or wait with OnPaused::KeepWaiting",
    );
}
