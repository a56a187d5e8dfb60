//! Downloads straight from object stores: from a store in this process that does as it should, and all that it should not ([`s3`],
//! [`credentials`], [`gcs`], [`azure`]), and from the emulators of the three ([`emulators`]).
#![cfg(all(feature = "s3", feature = "gcs", feature = "azure"))]

mod azure;
#[path = "../support/bucket.rs"]
mod bucket;
mod credentials;
mod disk;
mod emulators;
mod endpoints;
mod fallback;
mod gcs;
mod hostile;
mod s3;
mod secrets;
#[path = "../support/mod.rs"]
mod support;
mod world;
