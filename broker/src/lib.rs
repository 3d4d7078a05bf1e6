//! The Weir broker.

pub mod auth;
mod clock;
pub mod config;
pub mod data_dir;
pub mod metrics;
pub mod tls;
