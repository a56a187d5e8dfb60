//! What the master knows.

use super::agents::Agent;
use super::checkpoints::Checkpoint;
use super::clock::{Clock, Time};
use super::cluster::ClusterMessage;
use super::experiments::Experiment;
use super::folder::Folder;
use super::models::Model as RegistryModel;
use super::pools::Pools;
use super::projects::Project;
use super::simulation::{Agenda, Model};
use super::templates::Template;
use super::tokens::Tokens;
use super::trials::Trial;
use super::users::User;
use super::workspaces::Workspace;
use jiff::Timestamp;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque, btree_map};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The master's state with its lock.
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    stopping: AtomicBool,
}

impl Shared {
    pub(super) fn new(state: State) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            stopping: AtomicBool::new(false),
        })
    }

    /// The state of now: what has come due has happened.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock_as_it_was();
        state.run_due_events();
        state
    }

    /// The state as the last request left it.
    pub(super) fn lock_as_it_was(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes those who wait for a change.
    pub(super) fn notify(&self) {
        self.changed.notify_all();
    }

    /// Waits for a change, for the next event or for `longest`, whichever comes first; nothing when the master stops.
    pub(super) fn wait<'a>(
        &self,
        state: MutexGuard<'a, State>,
        longest: Duration,
    ) -> Option<MutexGuard<'a, State>> {
        if self.is_stopping() {
            return None;
        }
        let wait = state
            .agenda
            .next()
            .and_then(|moment| state.time.real_time_until(moment))
            .map_or(longest, |wait| {
                wait.clamp(Duration::from_millis(1), longest)
            });
        let (mut state, _) = self
            .changed
            .wait_timeout(state, wait)
            .unwrap_or_else(PoisonError::into_inner);
        state.run_due_events();
        (!self.is_stopping()).then_some(state)
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Ends the answers that go on, or lets new ones begin.
    pub(super) fn set_stopping(&self, stopping: bool) {
        self.stopping.store(stopping, Ordering::SeqCst);
        self.notify();
    }
}

/// Rows that are numbered from 1 on; a number is never used again.
#[derive(Debug)]
pub(super) struct Table<T> {
    rows: BTreeMap<i32, T>,
    last_id: i32,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            rows: BTreeMap::new(),
            last_id: 0,
        }
    }
}

impl<T> Table<T> {
    /// Adds the row that `make` makes of its id.
    pub(super) fn insert(&mut self, make: impl FnOnce(i32) -> T) -> &mut T {
        self.last_id += 1;
        let id = self.last_id;
        self.rows.entry(id).or_insert_with(|| make(id))
    }

    /// Uses up an id, as an insertion does that the database refuses.
    pub(super) fn skip(&mut self) {
        self.last_id += 1;
    }

    pub(super) fn get(&self, id: i32) -> Option<&T> {
        self.rows.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: i32) -> Option<&mut T> {
        self.rows.get_mut(&id)
    }

    pub(super) fn remove(&mut self, id: i32) -> Option<T> {
        self.rows.remove(&id)
    }

    pub(super) fn values(&self) -> btree_map::Values<'_, i32, T> {
        self.rows.values()
    }

    pub(super) fn values_mut(&mut self) -> btree_map::ValuesMut<'_, i32, T> {
        self.rows.values_mut()
    }
}

pub(super) struct State {
    pub(super) time: Time,
    pub(super) agenda: Agenda,
    pub(super) model: Model,
    pub(super) folder: Folder,
    pub(super) started: Timestamp,
    pub(super) master_id: String,
    pub(super) cluster_id: String,
    pub(super) agent: Agent,
    pub(super) cluster_message: Option<ClusterMessage>,
    pub(super) tokens: Tokens,
    pub(super) users: Table<User>,
    pub(super) workspaces: Table<Workspace>,
    pub(super) projects: Table<Project>,
    pub(super) experiments: Table<Experiment>,
    pub(super) trials: Table<Trial>,
    /// The trials that wait for slots.
    pub(super) queue: VecDeque<i32>,
    /// The checkpoint storages that were used; the place of each is its id.
    pub(super) storages: Vec<Value>,
    /// By uuid.
    pub(super) checkpoints: BTreeMap<String, Checkpoint>,
    /// The files of checkpoints that are not on the disk yet, by uuid and path.
    pub(super) unwritten: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    pub(super) models: Table<RegistryModel>,
    pub(super) last_version_id: i32,
    pub(super) pools: Pools,
    /// By name.
    pub(super) templates: BTreeMap<String, Template>,
    pub(super) last_log_id: u64,
    pub(super) last_report_id: i32,
}

impl State {
    pub(super) fn new(clock: Clock, model: Model, folder: Folder, slots: usize) -> Self {
        Self {
            time: Time::new(clock),
            agenda: Agenda::default(),
            model,
            folder,
            started: Timestamp::now(),
            master_id: uuid(),
            cluster_id: uuid(),
            agent: Agent::new(slots),
            cluster_message: None,
            tokens: Tokens::default(),
            users: Table::default(),
            workspaces: Table::default(),
            projects: Table::default(),
            experiments: Table::default(),
            trials: Table::default(),
            queue: VecDeque::new(),
            storages: Vec::new(),
            checkpoints: BTreeMap::new(),
            unwritten: BTreeMap::new(),
            models: Table::default(),
            last_version_id: 0,
            pools: Pools::default(),
            templates: BTreeMap::new(),
            last_log_id: 0,
            last_report_id: 0,
        }
    }
}

/// A random uuid of version 4.
pub(super) fn uuid() -> String {
    let mut bytes = [0_u8; 16];
    fill_randomly(&mut bytes);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = hex(&bytes);
    let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default();
    format!(
        "{}-{}-{}-{}-{}",
        part(0..8),
        part(8..12),
        part(12..16),
        part(16..20),
        part(20..32)
    )
}

pub(super) fn random_hex<const BYTES: usize>() -> String {
    let mut bytes = [0_u8; BYTES];
    fill_randomly(&mut bytes);
    hex(&bytes)
}

pub(super) fn fill_randomly(bytes: &mut [u8]) {
    // Without the system's random numbers no TLS would work either.
    SystemRandom::new()
        .fill(bytes)
        .expect("the system has random numbers");
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
