//! The client against a peer that speaks the protocol as a script says: also what a real broker
//! does only on a bad day, or never.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod admin;
mod connect;
mod peer;
mod produce;
mod produce_faults;
mod subscribe;
