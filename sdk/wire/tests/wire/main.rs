//! Tests of the vocabulary: against independent implementations, by properties, over a corpus,
//! and against the documents beside it. One binary, since linking is what tests cost here.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of tests unwrap as tests do"
)]

mod batches;
mod bindings;
mod documents;
mod frames;
mod fuzzing;
mod hostile;
mod kafka;
mod names;
mod outcomes;
mod proto_compat;
