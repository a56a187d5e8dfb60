//! The in-process master as its users see it.

mod caller;
mod det_command;
mod isolation;
mod lives;
mod properties;
mod refusals;
mod searchers;
mod seeds;
