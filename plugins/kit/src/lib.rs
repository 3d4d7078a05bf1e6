//! What authors of Weir plugins depend on: hooks as traits, records as borrowed slices, and one
//! macro that turns them into a component.
//!
//! A plugin is a pure function of a record and its configuration: no clock, no random numbers, no
//! network, no files. It is ordinary Rust, so its tests run natively; [`testing`] has the batches
//! and configurations they need.
//!
//! ```
//! use weir_plugin::{Columns, Config, Error, Filter, Record};
//!
//! struct Only(String);
//!
//! impl Filter for Only {
//!     fn configure(config: &Config, columns: &mut Columns) -> Result<Self, Error> {
//!         columns.header("tag");
//!         Ok(Self(config.require("tag")?.to_owned()))
//!     }
//!
//!     fn keep(&self, record: Record<'_>) -> Result<bool, Error> {
//!         Ok(record.header("tag") == Some(self.0.as_bytes()))
//!     }
//! }
//!
//! weir_plugin::export! { filter: Only }
//! ```
//!
//! The file is built for `wasm32-unknown-unknown` and made a component (`plugins/README.md`).

// The exported macros name this crate by its own name, here as well as in an author's crate.
extern crate self as weir_plugin;

mod batch;
mod config;
mod error;
mod export;
mod hooks;
pub mod json;
mod key_spans;
pub mod testing;

#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod guest;

pub use batch::{Batch, Columns, Record, Records};
pub use config::Config;
pub use error::Error;
pub use hooks::{Filter, Key, Route, RouteSet, Routes};

#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub use wit_bindgen;
