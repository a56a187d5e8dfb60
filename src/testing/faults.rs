//! Requests as they came, and faults that tests order.

use super::http::{Damage, Request, Response};
use super::wire::like;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A request that a [`MockMaster`](super::MockMaster) got.
///
/// ```
/// use determined::testing::MockMaster;
///
/// let master = MockMaster::start();
/// master.determined().create_model("iris")?;
/// let request = master.requests().pop().unwrap();
/// assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/api/v1/models"));
/// assert_eq!(request.json()["name"], "iris");
/// assert_eq!(request.header("Content-Type"), Some("application/json"));
/// # Ok::<(), determined::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RecordedRequest {
    /// In capitals: `GET`.
    pub method: String,
    /// Percent-encoded, without the query.
    pub path: String,
    /// What stands after the question mark, percent-encoded.
    pub query: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// As sent, with chunks put together.
    pub body: Vec<u8>,
}

impl RecordedRequest {
    /// The first header of that name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let (_, value) = headers.find(|(known, _)| known.eq_ignore_ascii_case(name))?;
        Some(value)
    }

    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// What goes wrong with a request; [`MockMaster::fault`](super::MockMaster::fault) orders it.
///
/// ```
/// use determined::{ErrorKind, testing::{Fault, MockMaster}};
///
/// let master = MockMaster::start();
/// let client = master.determined();
/// master.fault("POST /api/v1/models", Fault::Cut, 1);
/// let error = client.create_model("iris").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Connection);
/// assert_eq!(client.get_model("iris")?.name, "iris"); // the answer was lost, not the request
/// # Ok::<(), determined::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// The master answers with this status and does nothing.
    Status(u16),
    /// As [`Fault::Status`], with `Retry-After` in seconds.
    RetryAfter(u16, u64),
    /// The answer comes late.
    Delay(Duration),
    /// The master does what it is told and then closes the connection without an answer.
    Cut,
    /// The connection is closed without an answer, and nothing is done.
    Refuse,
    /// The connection is closed when so many bytes of the answer's body were sent.
    Truncate(usize),
    /// The answer is this text, with status 200 and no JSON.
    Garbage(String),
}

#[derive(Debug)]
struct Order {
    path: String,
    fault: Fault,
    left: usize,
}

/// What came in, and what is to go wrong.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    requests: Vec<RecordedRequest>,
    orders: Vec<Order>,
    /// The clients whose requests count for nothing, by the end of their `User-Agent`.
    hushed: BTreeSet<String>,
    last_hushed: u64,
}

impl Traffic {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn order(&self, path: &str, fault: Fault, times: usize) {
        self.lock().orders.push(Order {
            path: path.to_owned(),
            fault,
            left: times,
        });
    }

    pub(super) fn clear_orders(&self) {
        self.lock().orders.clear();
    }

    pub(super) fn requests(&self) -> Vec<RecordedRequest> {
        self.lock().requests.clone()
    }

    pub(super) fn clear_requests(&self) {
        self.lock().requests.clear();
    }

    /// A name for a client whose requests are neither written down nor go wrong until it is dropped.
    pub(super) fn hush(&self) -> Hush<'_> {
        let mut inner = self.lock();
        inner.last_hushed += 1;
        let name = format!("seed-{}", inner.last_hushed);
        inner.hushed.insert(name.clone());
        Hush {
            traffic: self,
            name,
        }
    }

    /// Writes the request down and says what is to go wrong with it.
    pub(super) fn take(&self, request: &Request) -> Option<Fault> {
        let mut inner = self.lock();
        let agent = request.header("user-agent").unwrap_or("");
        let name = agent.rsplit(' ').next().unwrap_or(agent);
        if inner.hushed.contains(name) {
            return None;
        }
        inner.requests.push(RecordedRequest {
            method: request.method.clone(),
            path: request.path.clone(),
            query: request.query.clone(),
            headers: request.headers.clone(),
            body: request.body.clone(),
        });
        let order = inner
            .orders
            .iter_mut()
            .find(|order| order.left > 0 && concerns(&order.path, request))?;
        order.left -= 1;
        Some(order.fault.clone())
    }
}

/// A client whose requests count for nothing, as long as this is there.
pub(super) struct Hush<'a> {
    traffic: &'a Traffic,
    name: String,
}

impl Hush<'_> {
    /// What must stand at the end of its `User-Agent`.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Hush<'_> {
    fn drop(&mut self) {
        self.traffic.lock().hushed.remove(&self.name);
    }
}

/// Whether an order's path, perhaps with a method before it, is that of the request; `*` stands for anything.
fn concerns(path: &str, request: &Request) -> bool {
    let (method, path) = match path.split_once(' ') {
        Some((method, path)) => (Some(method), path),
        None => (None, path),
    };
    let pattern = path
        .replace('%', "\\%")
        .replace('_', "\\_")
        .replace('*', "%");
    method.is_none_or(|method| method == request.method) && like(&pattern, &request.path)
}

/// What a fault that keeps a request from the master answers.
pub(super) fn instead(fault: &Fault) -> Option<Response> {
    let status = |status: u16| {
        let message = format!("this fault was ordered: {status}");
        Response::json_with(
            status,
            &json!({"error": {"code": 14, "reason": "Unavailable", "error": message}}),
        )
    };
    match fault {
        Fault::Status(code) => Some(status(*code)),
        Fault::RetryAfter(code, seconds) => {
            Some(status(*code).with_header("retry-after", seconds.to_string()))
        }
        Fault::Refuse => Some(Response::text(500, "").damaged(Damage::Cut)),
        Fault::Garbage(text) => Some(Response::text(200, text.as_str())),
        Fault::Delay(_) | Fault::Cut | Fault::Truncate(_) => None,
    }
}
