//! The simulation: core and log on a simulated disk, in one thread, with producers, readers and
//! an operator who talk to them over a network that loses messages, a power supply that fails and
//! a disk that lies. A seed decides everything, so the same seed is the same run.
//!
//! [`run`] plays one seed; [`history`] judges it, and knows neither broker nor log.

mod admin;
mod broker;
pub mod history;
mod network;
mod producer;
mod reader;
mod record;
mod trace;
mod world;

pub use broker::Planted;
pub use trace::Trace;
pub use world::{Counts, Options, Report, run};
