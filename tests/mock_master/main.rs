//! The in-process master as its users see it.

mod isolation;
mod lives;
mod properties;
mod seeds;
