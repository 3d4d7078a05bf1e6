//! The simulation: many seeds without a problem, the same seed twice, and bugs planted on purpose
//! that have to be found.
//!
//! `WEIR_DEEP=10` plays ten times as many seeds, `WEIR_SEED=7` that one only.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]
#![expect(clippy::print_stdout, reason = "a test says how much it has tried")]

#[path = "sim/planted.rs"]
mod planted;
#[path = "sim/rules.rs"]
mod rules;
#[path = "sim/same.rs"]
mod same;
#[path = "sim/seeds.rs"]
mod seeds;
