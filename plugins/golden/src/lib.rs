//! A component with every hook of the contract, each as simple as can be. `contract-1.0.0.wasm` was
//! built from it once and must load for ever; see the README beside this folder's manifest.

use serde::Deserialize;
use std::borrow::Cow;
use std::time::Duration;
use weir_plugin::{
    Columns, Config, Decision, Error, Failure, Filter, Key, Outputs, Project, Record, RetryPolicy,
    Route, RouteSet, Routes, Transform, View, log,
};

/// Settings of all hooks.
#[derive(Deserialize)]
struct Golden {
    /// The header that decides.
    #[serde(default = "tag")]
    header: String,
}

fn tag() -> String {
    "tag".to_owned()
}

impl Golden {
    fn new(config: &Config, columns: &mut Columns) -> Result<Self, Error> {
        let plugin: Self = config.typed()?;
        columns.key().value().timestamp().header(&plugin.header);
        log::info(format_args!("configured with the header {}", plugin.header));
        Ok(plugin)
    }

    /// The header's value; a record that says so is an error, or a panic.
    fn read<'a>(&self, record: Record<'a>) -> Result<Option<&'a [u8]>, Error> {
        match record.header(&self.header) {
            Some(b"error") => Err(Error::new("the record asked for an error")),
            Some(b"panic") => panic!("the record asked for a panic"),
            other => Ok(other),
        }
    }
}

/// Keeps records with the header `keep`.
impl Filter for Golden {
    fn configure(config: &Config, columns: &mut Columns) -> Result<Self, Error> {
        Self::new(config, columns)
    }

    fn keep(&self, record: Record<'_>) -> Result<bool, Error> {
        Ok(self.read(record)? == Some(b"keep"))
    }
}

/// Orders by the header, else by the key.
impl Key for Golden {
    fn configure(config: &Config, columns: &mut Columns) -> Result<Self, Error> {
        Self::new(config, columns)
    }

    fn key<'a>(&'a self, record: Record<'a>) -> Result<Option<Cow<'a, [u8]>>, Error> {
        Ok(self.read(record)?.or(record.key()).map(Cow::Borrowed))
    }
}

/// Routes by the header, else to all routes.
struct GoldenRoute {
    golden: Golden,
    routes: Routes,
}

impl Route for GoldenRoute {
    fn configure(config: &Config, routes: Routes, columns: &mut Columns) -> Result<Self, Error> {
        let golden = Golden::new(config, columns)?;
        Ok(Self { golden, routes })
    }

    fn route(&self, record: Record<'_>) -> Result<RouteSet, Error> {
        let all = || {
            (0..self.routes.len())
                .map(RouteSet::of)
                .fold(RouteSet::NONE, RouteSet::and)
        };
        match self.golden.read(record)? {
            Some(name) => Ok(self.routes.named(name).unwrap_or(RouteSet::NONE)),
            None => Ok(all()),
        }
    }
}

/// By the header: `reject`, `drop`, `twice`, else a changed record.
impl Transform for Golden {
    fn configure(config: &Config, columns: &mut Columns) -> Result<Self, Error> {
        Self::new(config, columns)
    }

    fn transform(&self, record: Record<'_>, out: &mut Outputs) -> Result<(), Error> {
        match self.read(record)? {
            Some(b"reject") => out.reject(record, "the record asked for it"),
            Some(b"drop") => {}
            Some(b"twice") => {
                out.keep(record);
                out.push(record).key("copy").header("copy", "1");
            }
            _ => {
                let time = record.timestamp().to_string();
                out.push(record).value(time).remove_header(&self.header);
            }
        }
        Ok(())
    }
}

/// Hides the value and the header, and turns records without a key into tombstones.
impl Project for Golden {
    fn configure(config: &Config, columns: &mut Columns) -> Result<Self, Error> {
        Self::new(config, columns)
    }

    fn project(&self, record: Record<'_>, view: &mut View<'_>) -> Result<(), Error> {
        self.read(record)?;
        match record.key() {
            Some(_) => view.value("***").remove_header(&self.header),
            None => view.remove_value(),
        };
        Ok(())
    }
}

/// Waits 100 ms times the attempt, three times; `park` in the header parks.
impl RetryPolicy for Golden {
    fn configure(config: &Config, columns: &mut Columns) -> Result<Self, Error> {
        Self::new(config, columns)
    }

    fn decide(&self, record: Record<'_>, failure: &Failure<'_>) -> Result<Decision, Error> {
        Ok(match (self.read(record)?, failure.attempt) {
            (Some(b"park"), _) => Decision::ParkKey,
            (_, attempt @ 1..=3) => Decision::Delay(Duration::from_millis(100) * attempt),
            _ => Decision::DeadLetter,
        })
    }
}

weir_plugin::export! {
    transform: Golden,
    route: GoldenRoute,
    key: Golden,
    filter: Golden,
    project: Golden,
    retry_policy: Golden,
}

#[cfg(test)]
mod tests {
    use super::{Golden, GoldenRoute};
    use std::time::Duration;
    use weir_plugin::testing::{
        Sample, Transformed, filter, key, project, retry_policy, route, transform, value,
    };
    use weir_plugin::{Decision, Failure};

    fn tagged(tag: &str) -> Sample {
        value("v").key("k").timestamp(7).header("tag", tag)
    }

    #[test]
    fn every_hook_does_what_it_says() {
        let plugin = filter::<Golden>(&[]).unwrap();
        let kept = plugin.keep_all(&[tagged("keep"), tagged("x"), value("v")]);
        assert_eq!(kept.unwrap(), [true, false, false]);

        let plugin = key::<Golden>(&[]).unwrap();
        assert_eq!(plugin.key(tagged("a")).unwrap().as_deref(), Some(&b"a"[..]));
        assert_eq!(
            plugin.key(Sample::new().key("k")).unwrap().as_deref(),
            Some(&b"k"[..])
        );

        let plugin = route::<GoldenRoute>(&[], &["a", "b"]).unwrap();
        assert_eq!(plugin.route(tagged("b")).unwrap(), [1]);
        assert_eq!(plugin.route(value("v")).unwrap(), [0, 1]);

        let plugin = transform::<Golden>(&[]).unwrap();
        let of = |tag| plugin.transform(tagged(tag)).unwrap();
        assert_eq!(
            of("reject"),
            Transformed::Rejected("the record asked for it".to_owned())
        );
        assert_eq!(of("drop"), Transformed::Outputs(vec![]));
        let twice = vec![
            tagged("twice"),
            tagged("twice").key("copy").header("copy", "1"),
        ];
        assert_eq!(of("twice"), Transformed::Outputs(twice));
        let changed = value("7").key("k").timestamp(7);
        assert_eq!(of("x"), Transformed::Outputs(vec![changed]));

        let plugin = project::<Golden>(&[]).unwrap();
        let seen = plugin.project(tagged("x")).unwrap();
        assert_eq!(seen, value("***").key("k").timestamp(7));
        assert_eq!(plugin.project(value("v")).unwrap(), Sample::new());

        let plugin = retry_policy::<Golden>(&[]).unwrap();
        let failed = |attempt| Failure {
            attempt,
            message: "no answer",
        };
        let later = Decision::Delay(Duration::from_millis(200));
        assert_eq!(plugin.decide(tagged("x"), failed(2)).unwrap(), later);
        assert_eq!(
            plugin.decide(tagged("x"), failed(4)).unwrap(),
            Decision::DeadLetter
        );
        assert_eq!(
            plugin.decide(tagged("park"), failed(1)).unwrap(),
            Decision::ParkKey
        );
    }

    #[test]
    fn records_that_ask_for_an_error_are_one() {
        let plugin = filter::<Golden>(&[("header", "h")]).unwrap();
        let error = plugin.keep(Sample::new().header("h", "error")).unwrap_err();
        assert_eq!(error.message(), "the record asked for an error");
    }
}
