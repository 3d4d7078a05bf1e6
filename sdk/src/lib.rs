//! The async client of the Weir broker.
//!
//! A [`Client`] holds verified TLS connections to one broker and makes [`Producer`]s,
//! [`Subscriber`]s and an [`Admin`] from them. It reconnects by itself: a producer sends what is
//! unanswered again under the same sequence numbers, so that nothing is stored twice, and a
//! subscriber goes on where it was, so that nothing is skipped or repeated.
//!
//! ```no_run
//! use futures_util::StreamExt;
//! use weir_sdk::{Client, Record};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder("weir://127.0.0.1:7650")
//!     .ca_file("ca.pem")
//!     .token_file("admin.token")
//!     .connect()
//!     .await?;
//!
//! let producer = client.producer("orders").open().await?;
//! let outcome = producer.publish(Record::new("two cups").key("customer-7")).await?;
//! println!("{outcome:?}");
//! producer.close().await?;
//!
//! let mut subscriber = client.subscribe(["orders"]).open().await?;
//! while let Some(record) = subscriber.next().await {
//!     println!("{:?}", record?.value);
//! }
//! # Ok(())
//! # }
//! ```

mod address;
mod admin;
mod backoff;
mod client;
mod clock;
mod connection;
#[cfg(feature = "limits")]
#[doc(hidden)]
pub mod limits;
mod producer;
mod record;
mod redial;
mod subscriber;

pub use address::{AddressError, BrokerAddress, DEFAULT_PORT};
pub use admin::{Admin, AdminError};
pub use client::{Client, ClientBuilder};
pub use connection::{ConnectError, Welcomed};
pub use producer::{
    BatchTicket, EndReason, OpenProducerError, Outcomes, Place, Producer, ProducerBuilder,
    ProducerStats, PublishError, RecordOutcome, Refused, SendError, Stall, Stored, Summary, Ticket,
};
pub use record::Record;
pub use subscriber::{
    Away, Event, Header, PartitionStart, Progress, Received, ReceivedBatch, ReceivedRecords, Start,
    SubscribeError, Subscriber, SubscriberBuilder,
};

pub use weir_wire as wire;
pub use weir_wire::batch::Compression;
pub use weir_wire::produce::Ack;
pub use weir_wire::subscribe::FilterSpec;
