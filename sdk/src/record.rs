//! A record on its way to the broker.

use bytes::Bytes;
use weir_wire::id::Timestamp;

/// The header that filters know as the tag.
pub(crate) const TAG: &str = "tag";

/// A record to be sent: a value, and if wanted a key, headers and a timestamp of its own.
///
/// Bytes are shared, not copied, until the record is encoded into its batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Vec<(String, Bytes)>,
    pub(crate) timestamp: Option<Timestamp>,
}

impl Record {
    /// A record of that value.
    #[must_use]
    pub fn new(value: impl Into<Bytes>) -> Self {
        Self {
            value: Some(value.into()),
            ..Self::default()
        }
    }

    /// A record without a value: it says that its key is gone.
    #[must_use]
    pub fn tombstone(key: impl Into<Bytes>) -> Self {
        Self {
            key: Some(key.into()),
            ..Self::default()
        }
    }

    /// Gives it a key: records of one key stay in order.
    #[must_use]
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Adds a header behind those it has.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Adds the header `tag`, which tag filters look at.
    #[must_use]
    pub fn tag(self, tag: impl Into<Bytes>) -> Self {
        self.header(TAG, tag)
    }

    /// Gives it a time, in milliseconds since 1970 UTC, instead of that of the send.
    #[must_use]
    pub const fn timestamp(mut self, timestamp: Timestamp) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// About how many bytes it takes in a batch, never fewer than it really takes.
    pub(crate) fn encoded_len_max(&self) -> usize {
        // Length, attributes, two deltas, two lengths and a header count: all varints.
        const FIXED: usize = 5 + 1 + 10 + 5 + 5 + 5 + 5;
        const PER_HEADER: usize = 5 + 5;
        let len = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers = self.headers.iter();
        FIXED
            + len(&self.key)
            + len(&self.value)
            + headers
                .map(|(name, value)| PER_HEADER + name.len() + value.len())
                .sum::<usize>()
    }
}
