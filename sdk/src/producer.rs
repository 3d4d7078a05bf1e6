//! Producing: records go into batches, batches become requests, requests are sent in order, many
//! at once, and answered record by record.
//!
//! `queue.rs` decides (no I/O, takes `now`), `session.rs` does the I/O, `handle.rs` is what the
//! application holds; the queue behind one lock is all they share.

mod builder;
mod completion;
mod error;
mod handle;
mod outcome;
mod queue;
mod session;
mod shared;
mod stall;
mod stats;

pub use builder::ProducerBuilder;
pub use completion::{BatchTicket, Ticket};
pub use error::{EndReason, OpenProducerError, PublishError, SendError};
pub use handle::Producer;
pub use outcome::{Outcomes, Place, RecordOutcome, Refused, Stored};
pub use stall::Stall;
pub use stats::{ProducerStats, Summary};
