//! Downloads through the master and from a shared file system: whole or not at all, whatever the master sends and whatever stands there.

mod direct;
mod master;
#[path = "../support/mod.rs"]
mod support;
mod target;
mod world;
