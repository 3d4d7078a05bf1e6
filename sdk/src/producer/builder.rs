//! How a producer is to work.

use std::time::Duration;

use tokio::time::Instant;
use weir_wire::batch::Compression;
use weir_wire::id::PartitionId;
use weir_wire::limits::BATCH_BYTES_MAX;
use weir_wire::name::{NameError, TopicName};
use weir_wire::produce::Ack;

use super::error::{EndReason, OpenProducerError};
use super::handle::Producer;
use super::queue::Options;
use super::session::{self, Session};
use super::shared::Shared;
use crate::client::Client;
use crate::connection::StreamError;

const BATCH_BYTES: usize = 1 << 20;
const BYTE_BUDGET: usize = 32 << 20;
const BYTE_BUDGET_MAX: usize = 1 << 30;
const LINGER: Duration = Duration::from_millis(5);
const LINGER_MAX: Duration = Duration::from_secs(60);

/// Describes a producer. Made by [`Client::producer`].
#[derive(Clone, Debug)]
#[must_use = "nothing happens before open()"]
pub struct ProducerBuilder {
    client: Client,
    topic: Result<TopicName, NameError>,
    options: Options,
}

impl ProducerBuilder {
    pub(crate) fn new(client: Client, topic: &str) -> Self {
        let retry_timeout = client.retry_timeout();
        Self {
            client,
            topic: topic.parse(),
            options: Options {
                batch_bytes: BATCH_BYTES,
                byte_budget: BYTE_BUDGET,
                linger: LINGER,
                compression: Compression::None,
                ack: Ack::Durable,
                partition: None,
                all_or_nothing: false,
                retry_timeout,
            },
        }
    }

    /// How long a batch may wait for more records while another is on its way; 5 ms by default.
    /// With nothing on its way a batch goes out at once.
    pub const fn linger(mut self, linger: Duration) -> Self {
        self.options.linger = linger;
        self
    }

    /// Bytes (uncompressed) at which a batch goes out; 1 MiB by default, at most 8 MiB.
    pub const fn batch_bytes(mut self, bytes: usize) -> Self {
        self.options.batch_bytes = bytes;
        self
    }

    /// Bytes that may be unsent or unanswered before `send` waits; 32 MiB by default.
    pub const fn byte_budget(mut self, bytes: usize) -> Self {
        self.options.byte_budget = bytes;
        self
    }

    /// How batches are compressed; not at all by default.
    pub const fn compression(mut self, compression: Compression) -> Self {
        self.options.compression = compression;
        self
    }

    /// When the broker answers; when the records are safe by default.
    pub const fn ack(mut self, ack: Ack) -> Self {
        self.options.ack = ack;
        self
    }

    /// Sends every record to that partition; refused where a plugin places records.
    pub const fn partition(mut self, partition: PartitionId) -> Self {
        self.options.partition = Some(partition);
        self
    }

    /// Whether the refusal of one record refuses the whole batch it is in.
    pub const fn all_or_nothing(mut self, yes: bool) -> Self {
        self.options.all_or_nothing = yes;
        self
    }

    /// How long a request may be the oldest without an outcome; the client's retry timeout by
    /// default.
    pub const fn retry_timeout(mut self, timeout: Duration) -> Self {
        self.options.retry_timeout = timeout;
        self
    }

    /// Opens the producer: the topic must exist.
    pub async fn open(self) -> Result<Producer, OpenProducerError> {
        let topic = self.topic?;
        check(&self.options)?;
        let link = self.client.produce_link().await?;
        let opened = session::open(&self.client, &topic, None, link.clone()).await;
        let (stream, opened) = opened.map_err(|error| match error {
            StreamError::Fault(fault) => OpenProducerError::Refused(fault),
            StreamError::Lost(reason) => OpenProducerError::Lost { reason },
            StreamError::Violation(reason) => {
                link.refuse(&reason);
                OpenProducerError::Protocol { reason }
            }
        })?;
        let topic_id = opened.topic;
        let partitions = opened.partitions;
        let placement_by_plugin = opened.placement_by_plugin;
        if let Some(partition) = self.options.partition {
            if placement_by_plugin {
                return Err(OpenProducerError::PlacementByPlugin { topic });
            }
            if partition.value() >= partitions {
                return Err(OpenProducerError::UnknownPartition {
                    topic,
                    partition,
                    partitions,
                });
            }
        }
        let shared = Shared::new(self.options);
        let begun = shared.queue().opened(opened, Instant::now());
        begun.map_err(|reason: EndReason| OpenProducerError::Protocol {
            reason: reason.to_string(),
        })?;
        let session = Session::new(self.client, topic.clone(), std::sync::Arc::clone(&shared));
        let task = tokio::spawn(session.run(stream));
        Ok(Producer::new(
            shared,
            (topic, topic_id),
            partitions,
            placement_by_plugin,
            task,
        ))
    }
}

fn check(options: &Options) -> Result<(), OpenProducerError> {
    let range = |option, ok: bool, range: String| {
        if ok {
            Ok(())
        } else {
            Err(OpenProducerError::Option { option, range })
        }
    };
    let bytes = 1..=BATCH_BYTES_MAX - 1024;
    range(
        "batch_bytes",
        bytes.contains(&options.batch_bytes),
        format!("from {} to {} bytes", bytes.start(), bytes.end()),
    )?;
    range(
        "byte_budget",
        (1..=BYTE_BUDGET_MAX).contains(&options.byte_budget),
        format!("from 1 to {BYTE_BUDGET_MAX} bytes"),
    )?;
    range(
        "linger",
        options.linger <= LINGER_MAX,
        format!("at most {LINGER_MAX:?}"),
    )
}
