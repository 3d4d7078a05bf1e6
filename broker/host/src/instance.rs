//! One instance of a component: its store, its limits, and single calls into it.

mod call;
mod failure;
mod state;

pub(crate) use call::{Instance, Setup};
pub(crate) use failure::{Cause, Failure};
pub(crate) use state::{Budget, State};
