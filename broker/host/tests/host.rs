//! The host against real components: the prebuilt samples, and hostile ones written as text.
#![expect(
    clippy::unwrap_used,
    reason = "in a test that is how to fail, helpers included"
)]

#[path = "host/bomb.rs"]
mod bomb;
#[path = "host/bombs.rs"]
mod bombs;
#[path = "host/compile.rs"]
mod compile;
#[path = "host/dice.rs"]
mod dice;
#[path = "host/fates.rs"]
mod fates;
#[path = "host/golden.rs"]
mod golden;
#[path = "host/hostile.rs"]
mod hostile;
#[path = "host/languages.rs"]
mod languages;
#[path = "host/limits.rs"]
mod limits;
#[path = "host/mapper.rs"]
mod mapper;
#[path = "host/mutated.rs"]
mod mutated;
#[path = "host/mutations.rs"]
mod mutations;
#[path = "host/puppet.rs"]
mod puppet;
#[path = "host/samples.rs"]
mod samples;
#[path = "host/support.rs"]
mod support;
#[path = "host/turns.rs"]
mod turns;
