//! The in-process master as its users see it.

mod beyond;
mod caller;
mod isolation;
mod lives;
mod properties;
mod refusals;
mod searchers;
mod seeds;
