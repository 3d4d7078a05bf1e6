//! Hostile input against the real broker: bytes that are no protocol, strangers, components that
//! break the rules, more work than there is room for. After each, the broker lives and another
//! topic's records have all arrived, once and in order. And, because it speaks the protocol by hand,
//! too: a data directory that an earlier version wrote.

#![expect(
    clippy::unwrap_used,
    reason = "in a test that is how to fail, helpers included"
)]

#[path = "hostile/balloons.rs"]
mod balloons;
#[path = "hostile/batches.rs"]
mod batches;
#[path = "hostile/flood.rs"]
mod flood;
#[path = "hostile/golden.rs"]
mod golden;
#[path = "hostile/hello.rs"]
mod hello;
#[path = "hostile/overload.rs"]
mod overload;
#[path = "hostile/plugin_fates.rs"]
mod plugin_fates;
#[path = "hostile/plugins.rs"]
mod plugins;
#[path = "hostile/raw.rs"]
mod raw;
#[path = "hostile/requests.rs"]
mod requests;
#[path = "hostile/sequences.rs"]
mod sequences;
#[path = "hostile/stage.rs"]
mod stage;
#[path = "hostile/subscriptions.rs"]
mod subscriptions;
#[path = "hostile/trust.rs"]
mod trust;
