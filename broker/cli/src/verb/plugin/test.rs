//! `weir plugin test`: what a plugin would do, and what it costs, without a binding: nothing is
//! stored, and nobody but the caller notices.
//!
//! The records come from `test/records.rs`, the plugin runs in `test/subject.rs`; what it answers
//! is read in `test/verdict.rs`, counted in `test/tally.rs` and printed in `test/report.rs`.

use std::path::PathBuf;

use bytes::Bytes;
use weir_host::Attempt;
use weir_sdk::{Client, Start};
use weir_wire::id::{Offset, PartitionId};
use weir_wire::name::TopicName;
use weir_wire::plugin::Hook;
use weir_wire::request::Setting;

use super::component::{self, Which};
use super::setting;
use crate::bar::Bar;
use crate::connect::{ConnectArgs, connect};
use crate::exit::{Exit, Failure};
use crate::failure::{is_unknown_topic, unknown_topic};
use crate::input::LineArgs;
use crate::output::OutputArgs;
use crate::verb::consume;
use crate::{size, time};

mod records;
mod report;
mod subject;
mod tally;
mod verdict;

use records::{Batch, End, FileRecords, Records, TopicRecords};
use report::Report;
use subject::{Judged, Lab, Setup, Subject};
use tally::{Comparison, Tally};

/// Arguments of `plugin test`.
#[derive(Debug, clap::Args)]
pub struct TestArgs {
    /// A component, in a file or as a version that was pushed
    #[arg(value_name = "FILE.wasm|NAME[@VERSION]")]
    plugin: Which,
    /// The hook that is called
    #[arg(long)]
    hook: Hook,
    /// A setting of the plugin
    #[arg(long = "config", value_name = "K=V", value_parser = setting)]
    config: Vec<Setting>,
    /// For the hook `route`: a declared route; `*` stands for every other value
    #[arg(long = "route", value_name = "VALUE")]
    routes: Vec<String>,
    /// Where the range of the topic ends: before offset:N of each partition, or time:T; by
    /// default where it ends now. A route as `plugin bind` takes it, VALUE=TOPIC, is one here too
    #[arg(long, value_name = "WHERE", allow_hyphen_values = true)]
    to: Vec<String>,
    /// The records: a file, plain, gzip or zstd; - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "topic")]
    input: Option<PathBuf>,
    #[command(flatten)]
    lines: LineArgs,
    /// The records: what this topic holds
    #[arg(long)]
    topic: Option<TopicName>,
    /// Only this partition of the topic
    #[arg(long, value_name = "N", value_parser = consume::partition)]
    partition: Option<PartitionId>,
    /// Where in the topic to start: earliest (the default), offset:N, time:T
    #[arg(
        long,
        value_name = "WHERE",
        value_parser = consume::start,
        allow_hyphen_values = true
    )]
    from: Option<Start>,
    /// Only so many records
    #[arg(long, value_name = "N", value_parser = size::parse_count::<u64>)]
    limit: Option<u64>,
    /// Another version that gets the same records; what differs is counted
    #[arg(long, value_name = "FILE.wasm|NAME[@VERSION]")]
    against: Option<Which>,
    /// For the hook `retry-policy`: which delivery of each record failed, from 1 (the default)
    #[arg(long, value_name = "N")]
    attempt: Option<u32>,
    /// For the hook `retry-policy`: what the consumer said [default: "no answer"]
    #[arg(long, value_name = "TEXT")]
    failure: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Does it.
pub async fn run(args: TestArgs) -> Result<(), Failure> {
    let To { routes, end } = to(&args)?;
    let setup = Setup {
        hook: args.hook,
        config: settings(&args.config),
        routes,
        attempt: Attempt {
            number: args.attempt.unwrap_or(1),
            message: args.failure.clone().unwrap_or("no answer".to_owned()),
        },
    };
    let broker = Broker::connect(&args).await?;
    // Before the component is compiled, which takes longer.
    let records = open(&args, end, &broker).await?;
    let lab = Lab::start()?;
    let subject = lab.subject(
        args.plugin.to_string(),
        broker.component(&args.plugin).await?,
        &setup,
    );
    let subject = subject.await?;
    let against = match &args.against {
        Some(which) => {
            let component = broker.component(which).await?;
            let other = lab.subject(which.to_string(), component, &setup);
            Some(Against {
                subject: other.await?,
                tally: Tally::default(),
                comparison: Comparison::default(),
            })
        }
        None => None,
    };
    let trial = Trial {
        setup,
        subject,
        tally: Tally::default(),
        against,
    };
    trial.run(records).await?.report(&args)
}

fn settings(config: &[Setting]) -> Vec<(String, String)> {
    let settings = config.iter();
    settings
        .map(|setting| (setting.name.clone(), setting.value.clone()))
        .collect()
}

fn no_records() -> Failure {
    Failure::usage("give the records: --input FILE (- for standard input) or --topic TOPIC")
}

/// What `--to` and `--route` say.
#[derive(Debug, PartialEq, Eq)]
struct To {
    routes: Vec<String>,
    end: Option<End>,
}

/// Tells the two meanings of `--to` apart.
fn to(args: &TestArgs) -> Result<To, Failure> {
    let mut to = To {
        routes: args.routes.clone(),
        end: None,
    };
    for text in &args.to {
        if let Some((value, _)) = text.rsplit_once('=') {
            to.routes.push(value.to_owned());
        } else if args.hook == Hook::Route && args.topic.is_none() {
            to.routes.push(text.clone());
        } else if to.end.is_some() {
            return Err(Failure::usage("--to: a range has one end"));
        } else {
            to.end = Some(range_end(text)?);
        }
    }
    let is_route = args.hook == Hook::Route;
    if args.input.is_none() && args.topic.is_none() {
        return Err(no_records());
    }
    match (is_route, to.routes.is_empty()) {
        (true, true) => Err(Failure::usage(
            "a route leads somewhere; add --route VALUE, or --to VALUE=TOPIC as at plugin bind",
        )),
        (false, false) => Err(Failure::usage("routes belong to the hook route")),
        _ if args.hook != Hook::RetryPolicy
            && (args.attempt.is_some() || args.failure.is_some()) =>
        {
            Err(Failure::usage(
                "--attempt and --failure belong to the hook retry-policy",
            ))
        }
        _ if to.end.is_some() && args.topic.is_none() => Err(Failure::usage(
            "--to ends a range of a topic; use --limit with --input",
        )),
        // clap does not ask for `--topic` where it could not stand beside `--input`.
        _ if args.topic.is_none() && (args.partition.is_some() || args.from.is_some()) => Err(
            Failure::usage("--partition and --from belong to --topic; a file has neither"),
        ),
        _ if args.topic.is_some() && args.lines.is_given() => Err(Failure::usage(
            "the records of a topic are as they are; --format, fields, headers and tags belong \
             to --input",
        )),
        _ => Ok(to),
    }
}

fn range_end(text: &str) -> Result<End, Failure> {
    let wrong = || Failure::usage(format!("--to {text}: write offset:N or time:T"));
    if let Some(number) = text.strip_prefix("offset:") {
        let number = number.parse().map_err(|_| wrong())?;
        return Ok(End::Offset(Offset::new(number)));
    }
    let ago = text.starts_with('-').then_some(text);
    let time = text.strip_prefix("time:").or(ago).ok_or_else(wrong)?;
    time::parse(time, time::now())
        .map(End::Time)
        .map_err(|error| Failure::of(Exit::Usage, &error))
}

/// The broker, if one is needed.
struct Broker {
    client: Option<Client>,
}

impl Broker {
    async fn connect(args: &TestArgs) -> Result<Self, Failure> {
        let is_pushed = |which: &Which| matches!(which, Which::Pushed(_));
        let is_needed = args.topic.is_some()
            || is_pushed(&args.plugin)
            || args.against.as_ref().is_some_and(is_pushed);
        let client = match is_needed {
            true => Some(connect(&args.connect).await?),
            false => None,
        };
        Ok(Self { client })
    }

    async fn component(&self, which: &Which) -> Result<Bytes, Failure> {
        match (which, &self.client) {
            (Which::File(path), _) => component::read(path),
            (Which::Pushed(plugin), Some(client)) => component::fetch(client, plugin).await,
            (Which::Pushed(plugin), None) => {
                Err(Failure::failed(format!("no broker to ask for {plugin}")))
            }
        }
    }
}

async fn open(args: &TestArgs, end: Option<End>, broker: &Broker) -> Result<Records, Failure> {
    let (client, topic) = match (&args.input, &broker.client, &args.topic) {
        (Some(path), ..) => {
            let file = FileRecords::open(path, &args.lines, args.limit)?;
            return Ok(Records::File(Box::new(file)));
        }
        (None, Some(client), Some(topic)) => (client, topic.to_string()),
        _ => return Err(no_records()),
    };
    let mut builder = client
        .subscribe([&topic])
        .from(args.from.unwrap_or_default());
    if let Some(partition) = args.partition {
        builder = builder.partition(partition);
    }
    match builder.open().await {
        Ok(subscriber) => Ok(Records::Topic(Box::new(TopicRecords::new(
            subscriber, end, args.limit,
        )))),
        Err(error) if is_unknown_topic(error.fault()) => Err(unknown_topic(client, &[topic]).await),
        Err(error) => Err(error.into()),
    }
}

/// A test that runs.
struct Trial {
    setup: Setup,
    subject: Subject,
    tally: Tally,
    against: Option<Against>,
}

/// The version that it is compared with.
struct Against {
    subject: Subject,
    tally: Tally,
    comparison: Comparison,
}

impl Trial {
    async fn run(self, mut records: Records) -> Result<Self, Failure> {
        let bar = records.bar();
        let tried = self.try_all(&mut records, &bar).await;
        bar.finish();
        tried
    }

    async fn try_all(mut self, records: &mut Records, bar: &Bar) -> Result<Self, Failure> {
        while let Some(batch) = records.next().await? {
            tracing::debug!("{} records go to the plugin", batch.places.len());
            // The plugin may take its time; the connection, and Ctrl-C, must not wait for it.
            let judged = tokio::task::spawn_blocking(move || {
                self.judge(&batch)?;
                Ok::<_, Failure>(self)
            });
            self = judged
                .await
                .map_err(|error| Failure::failed(format!("the test broke down: {error}")))??;
            bar.update(self.tally.records);
            if self.stuck().is_some() {
                break;
            }
        }
        Ok(self)
    }

    fn judge(&mut self, batch: &Batch) -> Result<(), Failure> {
        let routes = &self.setup.routes;
        let judged: Judged = self.subject.judge(&batch.input)?;
        self.tally.add(batch, &judged, routes);
        if let Some(against) = &mut self.against {
            let old = against.subject.judge(&batch.input)?;
            against.tally.add(batch, &old, routes);
            against.comparison.add(batch, &judged, &old, routes);
        }
        Ok(())
    }

    /// The plugin that has answered nothing for so long that the test ends.
    fn stuck(&self) -> Option<&Subject> {
        let against = self.against.as_ref().map(|against| &against.subject);
        let mut subjects = [Some(&self.subject), against].into_iter().flatten();
        subjects.find(|subject| subject.is_stuck())
    }

    fn report(&self, args: &TestArgs) -> Result<(), Failure> {
        let tally = &self.tally;
        if let Some(reason) = &tally.not_judged
            && tally.of_sort("not judged") == tally.records
        {
            let name = &self.subject.name;
            let stopped = self.stuck().map(|_| {
                let records = size::counted(tally.records, "record");
                format!(" (the test was stopped after {records})")
            });
            let stopped = stopped.unwrap_or_default();
            return Err(Failure::failed(format!("{name}: {reason}{stopped}")));
        }
        let against = self.against.as_ref();
        let report = Report {
            setup: &self.setup,
            subject: &self.subject,
            tally,
            against: against.map(|it| (&it.subject, &it.tally, &it.comparison)),
        };
        let printed = report.print(args.output.output);
        match self.stuck() {
            Some(stuck) => Err(Failure::failed(format!(
                "{}: stopped after {}, since it had no answer to any record in {} s of processor \
                 time",
                stuck.name,
                size::counted(tally.records, "record"),
                subject::VAIN_MAX.as_secs()
            ))),
            None => printed,
        }
    }
}

#[cfg(test)]
mod tests;
