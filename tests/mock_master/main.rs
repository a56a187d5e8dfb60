//! The in-process master as its users see it.

mod beyond;
mod isolation;
mod lives;
mod properties;
mod refusals;
mod seeds;
