//! What the Python SDK and real masters said to each other, said again by this crate.
//!
//! `tests/recordings` holds conversations: each HTTP exchange, and each call of the SDK with what it returned or raised. A scenario makes the
//! same calls through the public API against a [`Replay`](replay::Replay), which gives the recorded answers, takes no request but the
//! recorded ones, and compares what the calls return. `tests/recordings/deviations.toml` lists what differs on purpose.

#![allow(unreachable_pub, reason = "nothing is reached from outside a test")]

#[path = "support/bucket.rs"]
mod bucket;
mod replay;
mod scenarios;
mod support;
