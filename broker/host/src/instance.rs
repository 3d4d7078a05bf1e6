//! One instance of a component: its store, its limits, and single calls into it.

mod answer;
mod call;
mod state;

pub(crate) use call::{Failure, Instance, Setup};
pub(crate) use state::{Budget, State};
