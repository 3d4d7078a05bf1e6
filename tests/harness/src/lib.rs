//! What the end-to-end tests share: the real broker as a child process, input with answers that
//! no broker computed, and the checker of histories. Nothing here is part of Weir.
//!
//! A harness panics with a sentence when something that is not under test fails.

pub mod client;
pub mod crash;
pub mod directory;
pub mod flights;
pub mod history;
pub mod plugins;
pub mod process;
pub mod reading;
pub mod report;
