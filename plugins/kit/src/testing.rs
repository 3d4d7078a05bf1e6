//! What native unit tests of plugins need: settings, records, and the hooks called as the host
//! calls them. No WebAssembly, no broker: `cargo test` is enough.
//!
//! Configure a plugin with [`filter`], [`key`], [`route`], [`transform`], [`project`] or
//! [`retry_policy`], then call the hook on [`Sample`]s:
//!
//! ```
//! use weir_plugin::testing::{self, Sample};
//! # use weir_plugin::{Columns, Config, Error, Filter, Record};
//! # struct Tagged(String);
//! # impl Filter for Tagged {
//! #     fn configure(config: &Config, columns: &mut Columns) -> Result<Self, Error> {
//! #         columns.header("tag");
//! #         Ok(Self(config.require("tag")?.to_owned()))
//! #     }
//! #     fn keep(&self, record: Record<'_>) -> Result<bool, Error> {
//! #         Ok(record.header("tag") == Some(self.0.as_bytes()))
//! #     }
//! # }
//!
//! # fn main() -> Result<(), Error> {
//! let plugin = testing::filter::<Tagged>(&[("tag", "UA")])?;
//! assert!(plugin.keep(Sample::new().header("tag", "UA"))?);
//! assert!(!plugin.keep(Sample::new())?);
//!
//! let error = testing::filter::<Tagged>(&[]).map(drop).unwrap_err();
//! assert_eq!(error.message(), "setting `tag` is missing: bind with --config tag=…");
//! # Ok(())
//! # }
//! ```
//!
//! A sample has only the columns that the plugin asked for in `configure`, as in the broker:
//! reading another one panics with a sentence that says which. A whole batch at a time is what
//! [`Bound::keep_all`], [`Bound::key_all`] and [`Bound::transform_all`] run.

mod sample;

pub use sample::{Sample, value};

use crate::outputs::{ABSENT, UNCHANGED};
use crate::{
    Batch, Columns, Config, Decision, Error, Failure, Filter, Key, Keys, Outputs, Project, Record,
    RetryPolicy, Route, Routes, Transform,
};

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

    /// The verdicts on a batch, by the filter's own [`Filter::filter`].
    ///
    /// # Errors
    /// The filter's.
    pub fn keep_all(&self, samples: &[Sample]) -> Result<Vec<bool>, Error> {
        self.with_batch(samples, |batch| self.plugin.filter(batch))
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

    /// The ordering keys of a batch, by the plugin's own [`Key::keys`].
    ///
    /// # Errors
    /// The plugin's.
    pub fn key_all(&self, samples: &[Sample]) -> Result<Vec<Option<Vec<u8>>>, Error> {
        self.with_batch(samples, |batch| {
            let mut keys = Keys::new(batch.arena(), batch.len());
            self.plugin.keys(batch, &mut keys)?;
            Ok(keys.to_vec())
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

/// Configures a transform.
///
/// # Errors
/// What `configure` says, and settings that it does not know.
pub fn transform<P: Transform>(settings: &[(&str, &str)]) -> Result<Bound<P>, Error> {
    bound(settings, |config, columns| P::configure(config, columns))
}

/// Configures a projection.
///
/// # Errors
/// What `configure` says, and settings that it does not know.
pub fn project<P: Project>(settings: &[(&str, &str)]) -> Result<Bound<P>, Error> {
    bound(settings, |config, columns| P::configure(config, columns))
}

/// Configures a retry policy.
///
/// # Errors
/// What `configure` says, and settings that it does not know.
pub fn retry_policy<P: RetryPolicy>(settings: &[(&str, &str)]) -> Result<Bound<P>, Error> {
    bound(settings, |config, columns| P::configure(config, columns))
}

/// What a transform made of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transformed {
    /// These records; none if it dropped it.
    Outputs(Vec<Sample>),
    /// It refused it for that reason.
    Rejected(String),
}

impl<P: Transform> Bound<P> {
    /// What becomes of one record.
    ///
    /// # Errors
    /// The transform's.
    pub fn transform(&self, sample: Sample) -> Result<Transformed, Error> {
        let mut all = self.changed(&[sample], |batch, out| {
            batch
                .iter()
                .try_for_each(|record| self.plugin.transform(record, out))
        })?;
        Ok(all.remove(0))
    }

    /// What becomes of each record of a batch, by the transform's own
    /// [`Transform::transform_batch`].
    ///
    /// # Errors
    /// The transform's.
    pub fn transform_all(&self, samples: &[Sample]) -> Result<Vec<Transformed>, Error> {
        self.changed(samples, |batch, out| {
            self.plugin.transform_batch(batch, out)
        })
    }
}

impl<P: Project> Bound<P> {
    /// What a subscriber sees of one record.
    ///
    /// # Errors
    /// The projection's.
    pub fn project(&self, sample: Sample) -> Result<Sample, Error> {
        let all = self.changed(&[sample], |batch, out| {
            let project = |record| self.plugin.project(record, &mut out.push(record));
            batch.iter().try_for_each(project)
        })?;
        match all.into_iter().next() {
            Some(Transformed::Outputs(mut seen)) => Ok(seen.remove(0)),
            _ => unreachable!("a projection makes one output of each record"),
        }
    }
}

impl<P: RetryPolicy> Bound<P> {
    /// What happens to one record after that failure.
    ///
    /// # Errors
    /// The policy's.
    pub fn decide(&self, sample: Sample, failure: Failure<'_>) -> Result<Decision, Error> {
        self.with(sample, |record| self.plugin.decide(record, &failure))
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
    fn with<T>(&self, sample: Sample, run: impl FnOnce(Record<'_>) -> T) -> T {
        self.with_batch(&[sample], |batch| {
            run(batch.iter().next().expect("the batch has one record"))
        })
    }

    /// Lays the samples out as the host does, so that a column nobody asked for is missing here
    /// too.
    fn with_batch<T>(&self, samples: &[Sample], run: impl FnOnce(&Batch<'_>) -> T) -> T {
        let (mut arena, mut spans) = (Vec::new(), Vec::new());
        let mut put = |bytes: Option<&[u8]>| match bytes {
            Some(bytes) => {
                spans.extend([arena.len() as u32, bytes.len() as u32]);
                arena.extend_from_slice(bytes);
            }
            None => spans.extend([0, ABSENT]),
        };
        if self.columns.key {
            samples.iter().for_each(|sample| put(sample.key.as_deref()));
        }
        if self.columns.value {
            samples
                .iter()
                .for_each(|sample| put(sample.value.as_deref()));
        }
        for wanted in &self.columns.headers {
            for sample in samples {
                let found = sample.headers.iter().rfind(|(name, _)| name == wanted);
                put(found.map(|(_, value)| value.as_slice()));
            }
        }
        let timestamps: Vec<i64> = samples.iter().map(|sample| sample.timestamp).collect();
        let count = samples.len() as u32;
        let batch = Batch::new(&self.columns, count, &arena, &spans, &timestamps);
        run(&batch)
    }

    fn changed(
        &self,
        samples: &[Sample],
        run: impl FnOnce(&Batch<'_>, &mut Outputs) -> Result<(), Error>,
    ) -> Result<Vec<Transformed>, Error> {
        let outputs = self.with_batch(samples, |batch| {
            let mut outputs = Outputs::new(batch.len(), batch.arena().len());
            run(batch, &mut outputs).map(|()| outputs)
        })?;
        Ok(read(samples, outputs))
    }
}

/// What the samples became, as the host would make it of the same answer.
fn read(samples: &[Sample], outputs: Outputs) -> Vec<Transformed> {
    let mut all = vec![Transformed::Outputs(Vec::new()); samples.len()];
    let part = |span: &[u32], of_source: &Option<Vec<u8>>| match span[1] {
        UNCHANGED => of_source.clone(),
        ABSENT => None,
        length => Some(outputs.data[span[0] as usize..][..length as usize].to_vec()),
    };
    let mut changes = outputs.headers.iter().peekable();
    for (index, (source, span)) in outputs.source.iter().zip(&outputs.spans).enumerate() {
        let source = *source as usize;
        let mut made = samples[source].clone();
        made.key = part(&span[..2], &made.key);
        made.value = part(&span[2..], &made.value);
        while let Some(change) = changes.next_if(|change| change.output as usize == index) {
            made.headers.retain(|(name, _)| *name != change.name);
            let added = change.value.clone();
            made.headers
                .extend(added.map(|value| (change.name.clone(), value)));
        }
        if let Transformed::Outputs(outputs) = &mut all[source] {
            outputs.push(made);
        }
    }
    for (index, reason) in outputs.rejected {
        all[index as usize] = Transformed::Rejected(reason);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::{Sample, Transformed, filter, transform};
    use crate::{Columns, Config, Error, Filter, Outputs, Record, Transform};

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
            assert_eq!(record.header("b"), Some(&b"2"[..]));
            Ok(record.header("a").is_some())
        }
    }

    struct Halves;

    impl Transform for Halves {
        fn configure(_: &Config, columns: &mut Columns) -> Result<Self, Error> {
            columns.value();
            Ok(Self)
        }

        fn transform(&self, record: Record<'_>, out: &mut Outputs) -> Result<(), Error> {
            match record.value() {
                Some(b"") => {}
                Some(b"keep") => out.keep(record),
                Some(value) => {
                    let (one, other) = value.split_at(value.len() / 2);
                    out.push(record)
                        .value(one)
                        .header("half", "1")
                        .remove_header("x");
                    out.push(record).remove_key().value(other).header("x", "9");
                }
                None => out.reject(record, "nothing to halve"),
            }
            Ok(())
        }
    }

    #[test]
    fn a_transform_is_read_as_the_host_reads_it() {
        let plugin = transform::<Halves>(&[]).unwrap();
        let whole = || {
            Sample::new()
                .key("k")
                .timestamp(5)
                .header("x", "1")
                .header("x", "2")
        };
        let samples = [
            whole().value("abcd"),
            whole(),
            whole().value("keep"),
            whole().value(""),
        ];
        let halves = vec![
            Sample::new()
                .key("k")
                .timestamp(5)
                .value("ab")
                .header("half", "1"),
            Sample::new().timestamp(5).value("cd").header("x", "9"),
        ];
        let expected = [
            Transformed::Outputs(halves),
            Transformed::Rejected("nothing to halve".to_owned()),
            Transformed::Outputs(vec![whole().value("keep")]),
            Transformed::Outputs(vec![]),
        ];
        assert_eq!(plugin.transform_all(&samples).unwrap(), expected);
        for (sample, expected) in samples.into_iter().zip(expected) {
            assert_eq!(plugin.transform(sample).unwrap(), expected);
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
