//! An in-process Determined master for tests: real enough that no client can tell.
//!
//! [`MockMaster::start`] listens on a free loopback port and keeps state: what is created can be fetched, listed, changed and
//! deleted; submitted experiments run to their end on a [`Clock`] that a test can set, with logs, metrics and checkpoints whose
//! files can be downloaded; wrong credentials and unknown ids fail as they do on a real master. It speaks plain HTTP, so that
//! the Python SDK and the `det` command work with it too.
//!
//! The module needs the feature `testing`. What follows is `docs/testing.md` of the repository.
//!
#![doc = include_str!("../../docs/testing.md")]

mod agents;
mod archive;
mod auth;
mod checkpoints;
mod clock;
mod cluster;
mod config;
mod experiments;
mod failure;
mod faults;
mod folder;
mod http;
mod jobs;
mod logs;
mod metrics;
mod models;
mod pools;
mod projects;
mod router;
mod searcher;
mod seeds;
mod simulation;
mod state;
mod tasks;
mod templates;
mod tokens;
mod trials;
mod users;
mod versions;
mod wire;
mod workspaces;

pub use clock::Clock;
pub use faults::{Fault, RecordedRequest};
pub use seeds::{ExperimentSeed, ModelSeed, UserSeed, WorkspaceSeed};
pub use simulation::{SimulatedTrial, TrialScript};

use crate::{Determined, LoginOptions, Proxy, TokenStore};
use faults::Traffic;
use folder::Folder;
use http::{Damage, Request, Response, Server, Service};
use simulation::{Model, default_model};
use state::{Shared, State};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{io, thread};

/// How a [`MockMaster`] is to be.
///
/// ```
/// use determined::testing::{Clock, MockMaster, MockMasterOptions};
///
/// let master = MockMaster::start_with(MockMasterOptions::new().password("secret").clock(Clock::RealTime));
/// assert!(master.url().starts_with("http://127.0.0.1:"));
/// ```
#[derive(Clone)]
#[must_use]
#[non_exhaustive]
pub struct MockMasterOptions {
    port: u16,
    password: String,
    clock: Clock,
    slots: usize,
    resource_pools: Vec<String>,
    model: Model,
}

impl Default for MockMasterOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MockMasterOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("MockMasterOptions")
            .field("port", &self.port)
            .field("clock", &self.clock)
            .field("slots", &self.slots)
            .field("resource_pools", &self.resource_pools)
            .finish_non_exhaustive()
    }
}

impl MockMasterOptions {
    /// A free port, blank passwords, [`Clock::Instant`], two slots and the default model.
    pub fn new() -> Self {
        Self {
            port: 0,
            password: String::new(),
            clock: Clock::default(),
            slots: 2,
            resource_pools: Vec::new(),
            model: default_model(),
        }
    }

    /// The port to listen on. The default, 0, takes a free one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// The password of the users `determined` and `admin`. The default is the blank one.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = password.into();
        self
    }

    /// How fast experiments live. The default is [`Clock::Instant`].
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// How many slots the one agent has, and so how many trials of one slot run at once. The default is 2.
    pub fn slots(mut self, slots: usize) -> Self {
        self.slots = slots;
        self
    }

    /// A resource pool beside `default`, which workspaces can be bound to. The default is none.
    ///
    /// ```
    /// use determined::testing::{MockMaster, MockMasterOptions};
    ///
    /// let master = MockMaster::start_with(MockMasterOptions::new().resource_pool("gpu"));
    /// assert_eq!(master.determined().get_resource_pool("gpu")?.name, "gpu");
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn resource_pool(mut self, name: impl Into<String>) -> Self {
        self.resource_pools.push(name.into());
        self
    }

    /// What trials do. The default is five steps of a loss that decays, with a validation and a checkpoint at steps 1, 3 and 5.
    pub fn model(
        mut self,
        model: impl Fn(&SimulatedTrial) -> TrialScript + Send + Sync + 'static,
    ) -> Self {
        self.model = Arc::new(model);
        self
    }
}

/// A Determined master in this process, for tests. It stops and frees its port when dropped.
///
/// There are the users `determined` (id 2) and `admin` (id 1), the workspace and the project `Uncategorized`, the resource pool
/// `default` and an agent with two slots.
///
/// ```
/// use determined::testing::MockMaster;
///
/// let master = MockMaster::start();
/// let experiment = master.experiment().create();
/// let best = experiment.top_checkpoint()?;
/// let version = master.determined().create_model("iris")?.register_version(&best.uuid)?;
/// assert_eq!(version.model_version, 1);
/// # Ok::<(), determined::Error>(())
/// ```
pub struct MockMaster {
    front: Arc<Front>,
    address: SocketAddr,
    password: String,
    server: Mutex<Option<Server>>,
}

impl fmt::Debug for MockMaster {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("MockMaster")
            .field("url", &self.url())
            .finish_non_exhaustive()
    }
}

impl MockMaster {
    /// Starts a master on a free port of the loopback interface.
    ///
    /// # Panics
    ///
    /// If there is no free port, or no place for temporary files.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(MockMasterOptions::new())
    }

    /// Starts a master as `options` say.
    ///
    /// # Panics
    ///
    /// If the port is taken, or if there is no place for temporary files.
    #[track_caller]
    pub fn start_with(options: MockMasterOptions) -> Self {
        match Self::try_start(options) {
            Ok(master) => master,
            Err(error) => panic!("the mock master cannot start: {error}"),
        }
    }

    fn try_start(options: MockMasterOptions) -> io::Result<Self> {
        let folder = Folder::new()?;
        let mut state = State::new(options.clock, options.model, folder, options.slots);
        let hash = users::password_hash(&options.password);
        // The tables are empty, so these names are free.
        for (name, admin) in [("admin", true), ("determined", false)] {
            let _ = state.add_user(name, admin, Some(hash.clone()));
        }
        for name in &options.resource_pools {
            state.pools.add(name);
        }
        state.add_workspace("Uncategorized", 1).immutable = true;
        state
            .add_project(1, "Uncategorized", 1, "UNC2E".into())
            .immutable = true;

        let front = Arc::new(Front {
            shared: Shared::new(state),
            traffic: Traffic::default(),
        });
        let service: Arc<dyn Service> = Arc::clone(&front) as _;
        let server = Server::start(([127, 0, 0, 1], options.port).into(), service)?;
        Ok(Self {
            front,
            address: server.address(),
            password: options.password,
            server: Mutex::new(Some(server)),
        })
    }

    /// Where the master listens: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How to log in as `determined`, with a token store of nothing: neither the environment nor the user's own files count.
    ///
    /// ```
    /// use determined::{Determined, testing::MockMaster};
    ///
    /// let master = MockMaster::start();
    /// let admin = Determined::new(master.login_options().user("admin"))?;
    /// # Ok::<(), determined::Error>(())
    /// ```
    pub fn login_options(&self) -> LoginOptions {
        LoginOptions::new()
            .master(self.url())
            .user("determined")
            .password(self.password.as_str())
            .token_store(TokenStore::None)
            .proxy(Proxy::None)
    }

    /// A client that is logged in as `determined`.
    ///
    /// # Panics
    ///
    /// If the login fails, as it does when a fault was ordered for it.
    #[track_caller]
    pub fn determined(&self) -> Determined {
        match Determined::new(self.login_options()) {
            Ok(client) => client,
            Err(error) => panic!("the login to the mock master failed: {error}"),
        }
    }

    /// All requests so far, in the order in which they came.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.front.traffic.requests()
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.front.traffic.clear_requests();
    }

    /// Answers the next `times` requests to `path` with `status`, and does nothing for them.
    ///
    /// In `path`, `*` stands for anything, and a method may stand before it: `POST /api/v1/models`. The query does not count.
    pub fn fail_next(&self, path: &str, status: u16, times: usize) {
        self.fault(path, Fault::Status(status), times);
    }

    /// Lets the next `times` requests to `path` go wrong. For `path` see [`fail_next`](Self::fail_next).
    pub fn fault(&self, path: &str, fault: Fault, times: usize) {
        self.front.traffic.order(path, fault, times);
    }

    /// Forgets the faults that have not come to pass yet.
    pub fn clear_faults(&self) {
        self.front.traffic.clear_orders();
    }

    /// Makes every token void that was given so far, as if a week had passed.
    pub fn expire_tokens(&self) {
        self.front.shared.lock().expire_sessions();
    }

    /// Cuts the connections that are open now, follow streams too, and goes on listening.
    pub fn cut_connections(&self) {
        if let Some(server) = &*self.server() {
            server.cut_connections();
        }
    }

    /// Stops listening and cuts all connections; what the master knows stays.
    pub fn stop(&self) {
        self.front.shared.set_stopping(true);
        self.server().take();
    }

    /// Listens again on the same port; what the master knows, sessions too, stays.
    ///
    /// # Panics
    ///
    /// If another process took the port in the meantime.
    #[track_caller]
    pub fn restart(&self) {
        self.stop();
        self.front.shared.set_stopping(false);
        let service: Arc<dyn Service> = Arc::clone(&self.front) as _;
        match Server::start(self.address, service) {
            Ok(server) => *self.server() = Some(server),
            Err(error) => panic!("the mock master cannot listen on {}: {error}", self.address),
        }
    }

    /// Goes on by another clock.
    pub fn set_clock(&self, clock: Clock) {
        let mut state = self.front.shared.lock();
        state.time.set_clock(clock);
        drop(state);
        self.front.shared.notify();
    }

    /// Moves a clock that stands still on by `duration` of simulated time.
    pub fn advance(&self, duration: Duration) {
        self.front.shared.lock().advance(duration);
        self.front.shared.notify();
    }

    /// Lets the next thing happen in the life of the experiments, moving the clock on to it; tells whether there was one.
    ///
    /// A thing is a change of a trial's stage, or a piece of its work from one wait to the next.
    pub fn step(&self) -> bool {
        let happened = self.front.shared.lock_as_it_was().step();
        self.front.shared.notify();
        happened
    }

    fn server(&self) -> MutexGuard<'_, Option<Server>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for MockMaster {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What stands between the HTTP server and the routes: records requests and brings about faults.
struct Front {
    shared: Arc<Shared>,
    traffic: Traffic,
}

impl Service for Front {
    fn answer(&self, request: Request) -> Response {
        let fault = self.traffic.take(&request);
        if let Some(response) = fault.as_ref().and_then(faults::instead) {
            return response;
        }
        let response = router::answer(&self.shared, &request);
        match fault {
            Some(Fault::Delay(delay)) => {
                thread::sleep(delay);
                response
            }
            Some(Fault::Cut) => response.damaged(Damage::Cut),
            Some(Fault::Truncate(bytes)) => response.damaged(Damage::Truncate(bytes)),
            _ => response,
        }
    }
}
