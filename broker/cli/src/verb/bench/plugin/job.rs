//! The jobs that are measured: sample plugins, native Rust that does the same, and the records.

use bytes::Bytes;
use condition::Condition;
use rand::Rng;
use weir_host::{Bound, CallError, Input, RouteSet, Verdicts};
use weir_host::{key_routes, record_keys, tag_matches, upper_values, value_matches};
use weir_plugin::json;
use weir_wire::batch::{BatchBuilder, Compression, HEADER_LEN, NewRecord};
use weir_wire::id::Timestamp;
use weir_wire::placement::OrderingKey;
use weir_wire::plugin::Hook;

use super::super::Load;
use crate::exit::{Exit, Failure};

const TAG_FILTER: &[u8] = include_bytes!("../../../../../../plugins/prebuilt/tag-filter.wasm");
const RECORD_KEY: &[u8] = include_bytes!("../../../../../../plugins/prebuilt/record-key.wasm");
const HASH_ROUTE: &[u8] = include_bytes!("../../../../../../plugins/prebuilt/hash-route.wasm");
const UPPER_CASE: &[u8] = include_bytes!("../../../../../../plugins/prebuilt/upper-case.wasm");
const JSON_FILTER: &[u8] = include_bytes!("../../../../../../plugins/prebuilt/json-filter.wasm");

/// About half of the records carry the tag that is looked for, at random, so that no branch is
/// predictable.
const TAGS: [&str; 2] = ["AAAAAAAA", "BBBBBBBB"];
const ROUTES: [&str; 4] = ["a", "b", "c", "d"];
/// About half of the records fulfil it.
const CONDITION: &str = "dep_delay > 50";

/// What a job comes to.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    Kept(Vec<bool>),
    Keys(Vec<OrderingKey>),
    Routes(Vec<RouteSet>),
    Records(Bytes),
}

/// How native code does what a plugin does; `None` if it cannot.
type Native = Box<dyn Fn(&Input) -> Option<Answer>>;

/// A plugin, its settings, and how native code does the same.
pub(super) struct Job {
    pub(super) name: &'static str,
    pub(super) measurement: &'static str,
    pub(super) hook: Hook,
    pub(super) config: Vec<(String, String)>,
    pub(super) routes: Vec<String>,
    component: &'static [u8],
    native: Native,
}

/// A record, before it stands in a batch.
pub(super) struct Sample {
    key: String,
    tag: &'static str,
    value: Vec<u8>,
}

/// All of them.
pub(super) fn jobs() -> Result<Vec<Job>, Failure> {
    let [wanted, _] = TAGS;
    let condition = CONDITION.parse::<Condition>();
    let condition = condition.map_err(|error| Failure::failed(error.to_string()))?;
    let pick = move |body: &[u8]| {
        let value = json::field(body, condition.field()).ok()?;
        Some(value.is_some_and(|value| condition.matches(value)))
    };
    let job = |name, measurement, hook, component, native| Job {
        name,
        measurement,
        hook,
        config: Vec::new(),
        routes: Vec::new(),
        component,
        native,
    };
    let tag: Native = Box::new(move |input| tag_matches(input, &[wanted]).map(Answer::Kept));
    Ok(vec![
        Job {
            config: vec![("tags".to_owned(), wanted.to_owned())],
            ..job(
                "tag-filter",
                "plugin-tag-filter",
                Hook::Filter,
                TAG_FILTER,
                tag,
            )
        },
        job(
            "record-key",
            "plugin-record-key",
            Hook::Key,
            RECORD_KEY,
            Box::new(|input| record_keys(input).map(Answer::Keys)),
        ),
        Job {
            config: vec![("by".to_owned(), "key".to_owned())],
            routes: ROUTES.map(str::to_owned).to_vec(),
            ..job(
                "hash-route",
                "plugin-hash-route",
                Hook::Route,
                HASH_ROUTE,
                Box::new(|input| key_routes(input, ROUTES.len() as u8).map(Answer::Routes)),
            )
        },
        job(
            "upper-case",
            "plugin-upper-case",
            Hook::Transform,
            UPPER_CASE,
            Box::new(|input| upper_values(input).map(|records| Answer::Records(records.into()))),
        ),
        Job {
            config: vec![("where".to_owned(), CONDITION.to_owned())],
            ..job(
                "json-filter",
                "plugin-json-filter",
                Hook::Filter,
                JSON_FILTER,
                Box::new(move |input| value_matches(input, &pick).map(Answer::Kept)),
            )
        },
    ])
}

impl Job {
    pub(super) fn component(&self) -> Bytes {
        Bytes::from_static(self.component)
    }

    pub(super) fn native(&self, input: &Input) -> Result<Answer, Failure> {
        (self.native)(input).ok_or_else(|| {
            Failure::failed(format!("native code cannot do what {} does", self.name))
        })
    }

    /// The plugin's answer, on this thread.
    pub(super) fn ask(&self, bound: &Bound, input: &Input) -> Result<Answer, Failure> {
        match self.hook {
            Hook::Key => verdicts(bound.keys_now(input)).map(Answer::Keys),
            Hook::Route => verdicts(bound.route_now(input)).map(Answer::Routes),
            Hook::Transform => match bound.transform_now(input) {
                Ok(outputs) if outputs.failures.is_empty() => Ok(Answer::Records(outputs.records)),
                Ok(outputs) => Err(failed(outputs.failures.first())),
                Err(error) => Err(Failure::of(Exit::Failed, &error)),
            },
            _ => verdicts(bound.filter_now(input)).map(Answer::Kept),
        }
    }

    /// Records for it: values of letters, or JSON objects that are as long.
    pub(super) fn samples(&self, load: Load) -> Vec<Sample> {
        let mut random = rand::rng();
        let count = 0..load.batch;
        let samples = count.map(|_| {
            let size = load.size as usize;
            let mut value = Vec::with_capacity(size);
            if self.component == JSON_FILTER {
                let delay = random.random_range(0..=99);
                let object = format!(r#"{{"carrier":"UA","dep_delay":{delay},"note":""#);
                value.extend_from_slice(object.as_bytes());
            }
            let json = !value.is_empty();
            let ending: &[u8] = if json { b"\"}" } else { b"" };
            let letters = size.saturating_sub(value.len() + ending.len());
            value.extend((0..letters).map(|_| random.random_range(b'a'..=b'z')));
            value.extend_from_slice(ending);
            Sample {
                key: format!("{:016x}", random.random::<u64>()),
                tag: TAGS[usize::from(random.random::<bool>())],
                value,
            }
        });
        samples.collect()
    }
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

fn verdicts<T>(answered: Result<Verdicts<T>, CallError>) -> Result<Vec<T>, Failure> {
    match answered {
        Ok(verdicts) if verdicts.failures.is_empty() => Ok(verdicts.values),
        Ok(verdicts) => Err(failed(verdicts.failures.first())),
        Err(error) => Err(Failure::of(Exit::Failed, &error)),
    }
}

fn failed(failure: Option<&weir_host::RecordFailure>) -> Failure {
    let message = failure.map_or("", |failure| &failure.message);
    Failure::failed(format!("a plugin failed on a record: {message}"))
}

/// The records as they are stored.
pub(super) fn input(samples: &[Sample]) -> Result<Input, Failure> {
    let mut builder = BatchBuilder::default();
    for sample in samples {
        let record = NewRecord {
            key: Some(sample.key.as_bytes()),
            value: Some(&sample.value),
            headers: &[("tag", sample.tag.as_bytes())],
        };
        builder.push(Timestamp::new(0), &record);
    }
    let batch = builder.finish(Compression::None);
    let batch = batch.map_err(|error| Failure::failed(error.to_string()))?;
    Ok(Input {
        base_timestamp: Timestamp::new(0),
        count: samples.len() as u32,
        records: Bytes::from(batch).slice(HEADER_LEN..),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn values_are_as_long_as_asked_for_and_native_code_tells_them_apart() {
        let load = Load {
            size: 100,
            batch: 400,
            time: Duration::ZERO,
        };
        for job in jobs().unwrap() {
            let samples = job.samples(load);
            assert!(samples.iter().all(|sample| sample.value.len() == 100));
            let input = input(&samples).unwrap();
            match job.native(&input).unwrap() {
                Answer::Kept(kept) => {
                    let kept = kept.iter().filter(|kept| **kept).count();
                    assert!((100..300).contains(&kept), "{job:?} keeps {kept}");
                }
                Answer::Keys(keys) => assert!(!keys.contains(&OrderingKey::NONE)),
                Answer::Routes(sets) => {
                    let first = sets.iter().filter(|set| set.contains(0)).count();
                    assert!((50..150).contains(&first), "{first} take the first route");
                }
                Answer::Records(records) => {
                    assert_eq!(records.len(), input.records.len());
                    assert_ne!(records, input.records);
                }
            }
        }
    }
}
