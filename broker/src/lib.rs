//! The Weir broker: connections in, the log in the middle, subscriptions out.
//!
//! A request passes four rooms: `publish` (admit, hooks), `sequence` (its place), the log (its
//! safety), `subscribe` (its readers). `docs/ARCHITECTURE.md` tells the whole story.

mod activity;
pub mod append;
mod auth;
mod broker;
mod budget;
mod clock;
mod commit;
mod compaction;
pub mod config;
mod connection;
pub mod data_dir;
mod fault;
mod frames;
mod memory;
pub mod metrics;
pub mod offline;
mod plugins;
mod producers;
mod publish;
mod requests;
mod reset;
mod retention;
mod sampler;
mod scrub;
mod selection;
mod sequence;
mod state;
mod subscribe;
mod tails;
pub mod testing;
pub mod tls;
mod topics;
mod transport;
mod trim;

pub use broker::{Broker, Fatal, StartError, StartOptions};
pub use reset::ResetError;
pub use state::TestHooks;
pub use transport::ListenError;
