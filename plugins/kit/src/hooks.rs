//! The hooks as traits: what an author implements. One file per hook, except that `transform` and
//! `project`, which both change records, share one.

mod change;
mod filter;
mod key;
mod retry;
mod route;

pub use change::{Project, Transform};
pub use filter::Filter;
pub use key::Key;
pub use retry::{Decision, Failure, RetryPolicy};
pub use route::{Route, RouteSet, Routes};
