//! What a subscription is to read.

use std::sync::Arc;
use std::time::Duration;

use weir_wire::id::{Offset, PartitionId, Timestamp};
use weir_wire::limits::FILTERS_MAX;
use weir_wire::name::{NameError, TopicName};
use weir_wire::subscribe::{
    FilterSpec, START_EARLIEST, START_LATEST, START_OFFSET, START_TIME, Subscribe,
};

use super::credit::{Amount, Credit};
use super::error::SubscribeError;
use super::handle::Subscriber;
use super::session::Session;
use crate::client::Client;

const CREDIT_BYTES: u64 = 16 << 20;
const CREDIT_RECORDS: u64 = 1 << 20;
const TOPICS_MAX: usize = 1000;

/// Where a subscription starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At the first record that is held.
    #[default]
    Earliest,
    /// Behind the last record there is.
    Latest,
    /// At that offset.
    Offset(Offset),
    /// At the first batch that was appended then or later.
    Time(Timestamp),
}

/// Describes a subscription. Made by [`Client::subscribe`].
#[derive(Clone, Debug)]
#[must_use = "nothing happens before open()"]
pub struct SubscriberBuilder {
    client: Client,
    topics: Result<Vec<TopicName>, NameError>,
    start: Start,
    partition: Option<PartitionId>,
    filters: Vec<FilterSpec>,
    projections: Vec<FilterSpec>,
    credit: Amount,
    ordering_keys: bool,
    retry_timeout: Duration,
}

impl SubscriberBuilder {
    pub(crate) fn new<T: AsRef<str>>(client: Client, topics: impl IntoIterator<Item = T>) -> Self {
        let retry_timeout = client.retry_timeout();
        Self {
            client,
            topics: topics.into_iter().map(|t| t.as_ref().parse()).collect(),
            start: Start::default(),
            partition: None,
            filters: Vec::new(),
            projections: Vec::new(),
            credit: Amount {
                bytes: CREDIT_BYTES,
                records: CREDIT_RECORDS,
            },
            ordering_keys: false,
            retry_timeout,
        }
    }

    /// Where to start; at the earliest record by default.
    pub const fn from(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// Reads only this partition of each topic.
    pub const fn partition(mut self, partition: PartitionId) -> Self {
        self.partition = Some(partition);
        self
    }

    /// Adds a filter behind those there are: a record must pass all.
    pub fn filter(mut self, filter: FilterSpec) -> Self {
        self.filters.push(filter);
        self
    }

    /// Adds a projection behind those there are: records that pass the filters come as it shows
    /// them, at their offsets.
    pub fn project(mut self, projection: FilterSpec) -> Self {
        self.projections.push(projection);
        self
    }

    /// Bytes of batches that may wait here for the application; 16 MiB by default.
    pub const fn credit_bytes(mut self, bytes: u64) -> Self {
        self.credit.bytes = bytes;
        self
    }

    /// Records that may wait here for the application; 1,048,576 by default.
    pub const fn credit_records(mut self, records: u64) -> Self {
        self.credit.records = records;
        self
    }

    /// Whether records come with the hash of their ordering key.
    pub const fn ordering_keys(mut self, yes: bool) -> Self {
        self.ordering_keys = yes;
        self
    }

    /// How long the broker may be away before the subscription ends; the client's retry timeout
    /// by default.
    pub const fn retry_timeout(mut self, timeout: Duration) -> Self {
        self.retry_timeout = timeout;
        self
    }

    /// Subscribes.
    pub async fn open(self) -> Result<Subscriber, SubscribeError> {
        let topics = self.topics?;
        let range = |option, range: &str| SubscribeError::Option {
            option,
            range: range.to_owned(),
        };
        if topics.is_empty() || topics.len() > TOPICS_MAX {
            return Err(range("topics", "from 1 to 1000 names"));
        }
        if self.credit.bytes == 0 || self.credit.records == 0 {
            return Err(range("credit", "at least one byte and one record"));
        }
        if self.filters.len() > FILTERS_MAX {
            return Err(range("filters", "at most 16"));
        }
        if self.projections.len() > FILTERS_MAX {
            return Err(range("projections", "at most 16"));
        }
        let (start, start_offset, start_time) = match self.start {
            Start::Earliest => (START_EARLIEST, Offset::ZERO, Timestamp::new(0)),
            Start::Latest => (START_LATEST, Offset::ZERO, Timestamp::new(0)),
            Start::Offset(offset) => (START_OFFSET, offset, Timestamp::new(0)),
            Start::Time(time) => (START_TIME, Offset::ZERO, time),
        };
        let subscribe = Subscribe {
            topics,
            partition: self.partition,
            start,
            start_offset,
            start_time,
            cursors: Vec::new(),
            filters: self.filters,
            credit_bytes: 0,
            credit_records: 0,
            ordering_keys: self.ordering_keys,
            resumed: false,
            projections: self.projections,
        };
        let credit = Arc::new(Credit::new(self.credit));
        let session = Session::new(self.client, subscribe, credit, self.retry_timeout);
        session.open().await
    }
}
