//! Subscribing: the broker pushes batches within the credit it has; records come out in order per
//! partition, none twice, none left out, also across lost connections.

mod batch;
mod builder;
mod credit;
mod cursors;
mod error;
mod handle;
mod session;

pub use batch::{Header, Received, ReceivedBatch, ReceivedRecords};
pub use builder::{Start, SubscriberBuilder};
pub use error::SubscribeError;
pub use handle::{Away, Event, PartitionStart, Progress, Subscriber};
