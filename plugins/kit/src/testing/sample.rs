//! A record to test with.

/// A record to test with, and what a record became.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) timestamp: i64,
    pub(super) headers: Vec<(String, Vec<u8>)>,
}

impl Sample {
    /// A record without key, value and headers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The record with that key.
    #[must_use]
    pub fn key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The record with that value.
    #[must_use]
    pub fn value(mut self, value: impl Into<Vec<u8>>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// The record with that timestamp, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn timestamp(mut self, timestamp: i64) -> Self {
        self.timestamp = timestamp;
        self
    }

    /// The record with one header more.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// Shorthand for a record with that value.
#[must_use]
pub fn value(value: impl Into<Vec<u8>>) -> Sample {
    Sample::new().value(value)
}
