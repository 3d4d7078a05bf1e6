//! What native unit tests of plugins need: settings, records, and the hooks called as the host
//! calls them.

use crate::{Batch, Columns, Config, Error, Filter, Key, Record, Route, Routes};

/// A record to test with.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    timestamp: i64,
    headers: Vec<(String, Vec<u8>)>,
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

/// A plugin and the columns it asked for.
#[derive(Debug)]
pub struct Bound<P> {
    plugin: P,
    columns: Columns,
}

/// Settings as a plugin gets them.
#[must_use]
pub fn config(settings: &[(&str, &str)]) -> Config {
    Config::new(
        settings
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect(),
    )
}

/// Configures a filter.
///
/// # Errors
/// What `configure` says, and settings that it does not know.
pub fn filter<P: Filter>(settings: &[(&str, &str)]) -> Result<Bound<P>, Error> {
    bound(settings, |config, columns| P::configure(config, columns))
}

/// Configures an ordering key.
///
/// # Errors
/// What `configure` says, and settings that it does not know.
pub fn key<P: Key>(settings: &[(&str, &str)]) -> Result<Bound<P>, Error> {
    bound(settings, |config, columns| P::configure(config, columns))
}

/// Configures a router with those declared routes.
///
/// # Errors
/// What `configure` says, and settings that it does not know.
pub fn route<P: Route>(settings: &[(&str, &str)], routes: &[&str]) -> Result<Bound<P>, Error> {
    let routes = Routes::new(routes.iter().map(|name| (*name).to_owned()).collect());
    bound(settings, |config, columns| {
        P::configure(config, routes, columns)
    })
}

impl<P: Filter> Bound<P> {
    /// The verdict on one record.
    ///
    /// # Errors
    /// The filter's.
    pub fn keep(&self, sample: Sample) -> Result<bool, Error> {
        self.with(sample, |record| self.plugin.keep(record))
    }
}

impl<P: Key> Bound<P> {
    /// The ordering key of one record.
    ///
    /// # Errors
    /// The plugin's.
    pub fn key(&self, sample: Sample) -> Result<Option<Vec<u8>>, Error> {
        self.with(sample, |record| {
            Ok(self.plugin.key(record)?.map(|key| key.into_owned()))
        })
    }
}

impl<P: Route> Bound<P> {
    /// The positions of the routes that one record takes.
    ///
    /// # Errors
    /// The plugin's.
    pub fn route(&self, sample: Sample) -> Result<Vec<u32>, Error> {
        let set = self.with(sample, |record| self.plugin.route(record))?;
        Ok((0..64)
            .filter(|position| set.bits() >> position & 1 == 1)
            .collect())
    }
}

fn bound<P>(
    settings: &[(&str, &str)],
    configure: impl FnOnce(&Config, &mut Columns) -> Result<P, Error>,
) -> Result<Bound<P>, Error> {
    let config = config(settings);
    let mut columns = Columns::default();
    let plugin = configure(&config, &mut columns)?;
    config.finish()?;
    Ok(Bound { plugin, columns })
}

impl<P> Bound<P> {
    /// Lays the sample out as the host does, so that a column nobody asked for is missing here too.
    fn with<T>(&self, sample: Sample, run: impl FnOnce(Record<'_>) -> T) -> T {
        let (mut arena, mut spans) = (Vec::new(), Vec::new());
        let mut column = |bytes: Option<&[u8]>| match bytes {
            Some(bytes) => {
                spans.extend([arena.len() as u32, bytes.len() as u32]);
                arena.extend_from_slice(bytes);
            }
            None => spans.extend([0, u32::MAX]),
        };
        if self.columns.key {
            column(sample.key.as_deref());
        }
        if self.columns.value {
            column(sample.value.as_deref());
        }
        for wanted in &self.columns.headers {
            let found = sample.headers.iter().rfind(|(name, _)| name == wanted);
            column(found.map(|(_, value)| value.as_slice()));
        }
        let timestamps = [sample.timestamp];
        let batch = Batch::new(&self.columns, 1, 0, &arena, &spans, &timestamps);
        run(batch.iter().next().expect("the batch has one record"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Sample, filter};
    use crate::{Columns, Config, Error, Filter, Record};

    struct Everything;

    impl Filter for Everything {
        fn configure(_: &Config, columns: &mut Columns) -> Result<Self, Error> {
            columns.key().value().timestamp().header("a").header("b");
            Ok(Self)
        }

        fn keep(&self, record: Record<'_>) -> Result<bool, Error> {
            assert_eq!(record.key(), Some(&b"k"[..]));
            assert_eq!(record.value(), Some(&b"v"[..]));
            assert_eq!(record.timestamp(), 7);
            assert_eq!(record.offset(), 0);
            assert_eq!(record.header("b"), Some(&b"2"[..]));
            Ok(record.header("a").is_some())
        }
    }

    struct Greedy;

    impl Filter for Greedy {
        fn configure(_: &Config, _: &mut Columns) -> Result<Self, Error> {
            Ok(Self)
        }

        fn keep(&self, record: Record<'_>) -> Result<bool, Error> {
            Ok(record.value().is_some())
        }
    }

    #[test]
    fn a_record_has_the_columns_asked_for() {
        let sample = Sample::new()
            .key("k")
            .value("v")
            .timestamp(7)
            .header("b", "2");
        let plugin = filter::<Everything>(&[]).unwrap();
        assert!(!plugin.keep(sample.clone()).unwrap());
        assert!(plugin.keep(sample.header("a", "")).unwrap());
    }

    #[test]
    #[should_panic(expected = "ask for columns.value() in configure")]
    fn a_column_nobody_asked_for_is_a_clear_mistake() {
        let _ = filter::<Greedy>(&[])
            .unwrap()
            .keep(Sample::new().value("v"));
    }
}
