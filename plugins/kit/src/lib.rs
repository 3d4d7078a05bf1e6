//! What authors of Weir plugins depend on: hooks as traits, records as borrowed slices, and one
//! macro that turns them into a component.
#![doc = ""]
#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

// The exported macros name this crate by its own name, here as well as in an author's crate.
extern crate self as weir_plugin;

mod batch;
mod config;
mod error;
mod export;
mod hooks;
pub mod json;
mod keys;
pub mod log;
mod outputs;
pub mod testing;

#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod guest;

pub use batch::{Batch, Columns, Record, Records, equal};
pub use config::Config;
pub use error::Error;
pub use hooks::{
    Decision, Failure, Filter, Key, Project, RetryPolicy, Route, RouteSet, Routes, Transform,
};
pub use keys::Keys;
pub use outputs::{Buffer, Output, Outputs, View};

#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub use wit_bindgen;
