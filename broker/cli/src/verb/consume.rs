//! `weir consume`: records to standard output. Filters and projections as they are typed are in
//! `consume/filters.rs`, the thread that writes in `consume/writer.rs`, where to go on behind a
//! lost connection in `consume/go_on.rs`.

use std::collections::HashMap;

use futures_util::FutureExt;
use weir_sdk::{Client, Event, Received, ReceivedBatch, Start, SubscribeError, Subscriber};
use weir_wire::id::{Offset, PartitionId, TopicId};
use weir_wire::name::TopicName;
use weir_wire::placement::OrderingKey;

use crate::connect::{ConnectArgs, connect};
use crate::environment;
use crate::exit::{Exit, Failure};
use crate::failure::{
    deleted_topic, is_unknown_plugin, is_unknown_topic, unknown_plugin, unknown_topic,
};
use crate::record::{RecordFormat, Row};
use crate::{size, time};

mod away;
mod filters;
mod go_on;
mod writer;

use away::Interruption;
use filters::FilterArgs;
use go_on::Times;
use writer::Writer;

/// Bytes that are gathered before they go to the writing thread.
const BUFFER_BYTES: usize = 128 << 10;

/// Arguments of `consume`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A template has %t topic, %p partition, %o offset, %k key, %v value, %g \
tag, %h headers, %T append time, %K ordering key, and \\n, \\t.

Examples:
  weir consume orders --until-end --output '%t/%p@%o %k %v\\n'
  weir consume flights --filter tag-filter --config 'tags=UA || DL' --limit 10
  weir consume flights --filter json-filter --config 'where=dep_delay > 15' --on-error drop"
)]
pub struct ConsumeArgs {
    /// The topics
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<TopicName>,
    /// Where to start: earliest, latest, offset:N, time:T (2026-01-02T03:04:05Z, or -1h), or a
    /// time before now, -1h
    #[arg(
        long,
        value_name = "WHERE",
        default_value = "earliest",
        value_parser = start,
        allow_hyphen_values = true
    )]
    from: Start,
    /// Only this partition of each topic
    #[arg(long, value_name = "N", value_parser = partition)]
    partition: Option<PartitionId>,
    #[command(flatten)]
    filters: FilterArgs,
    /// End after so many records
    #[arg(long, value_name = "N", value_parser = size::parse_count::<u64>)]
    limit: Option<u64>,
    /// End where the topics end now
    #[arg(long)]
    until_end: bool,
    /// How records are printed: value, json, table, or a template
    #[arg(long, value_name = "FORMAT", default_value = "value")]
    output: RecordFormat,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Reads `--from`.
pub fn start(text: &str) -> Result<Start, String> {
    if let Some(number) = text.strip_prefix("offset:") {
        let number = number.parse();
        let number = number.map_err(|_| format!("{text:?} has no number behind offset:"))?;
        return Ok(Start::Offset(Offset::new(number)));
    }
    let ago = text.starts_with('-').then_some(text);
    if let Some(text) = text.strip_prefix("time:").or(ago) {
        let time = time::parse(text, time::now());
        return time.map(Start::Time).map_err(|error| error.to_string());
    }
    match text {
        "earliest" => Ok(Start::Earliest),
        "latest" => Ok(Start::Latest),
        _ => Err("write earliest, latest, offset:N, time:T or, back from now, -1h".to_owned()),
    }
}

/// Reads `--partition`.
pub fn partition(text: &str) -> Result<PartitionId, String> {
    size::parse_count(text).map(PartitionId::new)
}

/// Does it.
pub async fn run(args: ConsumeArgs) -> Result<(), Failure> {
    if args.limit == Some(0) {
        return Ok(());
    }
    let client = connect(&args.connect).await?;
    let names: Vec<_> = args.topics.iter().map(TopicName::to_string).collect();
    let subscriber = subscribe(&client, &names, &args).await?;
    let mut writer = Writer::start();
    let printed = Printing {
        ends: args.until_end.then(|| ends(&subscriber)),
        client,
        names,
        subscriber,
        left: args.limit,
        format: args.output,
        width: environment::width(),
        buffer: Vec::new(),
        times: Times::new(),
        interruption: Interruption::default(),
    };
    let result = printed.run(&mut writer).await;
    let written = writer.finish().await;
    // A closed pipe shows in both; what the writer says is the cause.
    written.and(result)
}

async fn subscribe(
    client: &Client,
    names: &[String],
    args: &ConsumeArgs,
) -> Result<Subscriber, Failure> {
    let mut builder = client
        .subscribe(names)
        .from(args.from)
        .ordering_keys(args.output.shows_ordering_key());
    if let Some(partition) = args.partition {
        builder = builder.partition(partition);
    }
    for filter in &args.filters.filters {
        builder = builder.filter(filter.clone());
    }
    for projection in &args.filters.projections {
        builder = builder.project(projection.clone());
    }
    match builder.open().await {
        Ok(subscriber) => Ok(subscriber),
        Err(error) if is_unknown_topic(error.fault()) => Err(unknown_topic(client, names).await),
        Err(error) if is_unknown_plugin(error.fault()) => {
            let specs = args.filters.filters.iter().chain(&args.filters.projections);
            let plugins: Vec<_> = specs.map(|spec| spec.plugin.as_str()).collect();
            Err(unknown_plugin(client, &plugins).await)
        }
        Err(error) => Err(error.into()),
    }
}

/// The end offsets when the subscription began.
fn ends(subscriber: &Subscriber) -> HashMap<(TopicId, PartitionId), Offset> {
    let partitions = subscriber.partitions().iter();
    partitions
        .map(|partition| ((partition.topic_id, partition.partition), partition.end))
        .collect()
}

struct Printing {
    client: Client,
    /// The topics.
    names: Vec<String>,
    subscriber: Subscriber,
    /// With `--until-end`: where each partition ends.
    ends: Option<HashMap<(TopicId, PartitionId), Offset>>,
    /// With `--limit`: how many records are still wanted.
    left: Option<u64>,
    format: RecordFormat,
    width: Option<usize>,
    buffer: Vec<u8>,
    times: Times,
    interruption: Interruption,
}

impl Printing {
    async fn run(mut self, writer: &mut Writer) -> Result<(), Failure> {
        self.format
            .write_head(&mut self.buffer)
            .map_err(|error| Failure::writing(&error))?;
        while !self.is_done() {
            // What is there is printed before anybody waits for more.
            let event = match self.subscriber.next_event().now_or_never() {
                Some(event) => event,
                None => {
                    self.hand_over(writer).await?;
                    let next = self.subscriber.next_event();
                    self.interruption.wait(next).await
                }
            };
            match &event {
                Some(Ok(Event::Away(away))) => self.interruption.begins(away.clone()),
                Some(Ok(_)) => self.interruption.ends(),
                Some(Err(_)) | None => {}
            }
            match event {
                None => break,
                Some(Err(error)) => {
                    self.hand_over(writer).await?;
                    return Err(self.ended(error).await);
                }
                Some(Ok(Event::Records(batch))) => self.print(batch, writer).await?,
                Some(Ok(_)) => {}
            }
        }
        self.hand_over(writer).await
    }

    /// Names the topic that is gone: the broker knows it by a number only.
    async fn ended(&self, error: SubscribeError) -> Failure {
        if is_unknown_topic(error.fault()) {
            return deleted_topic(&self.client, &self.names).await;
        }
        let SubscribeError::Lost { reason } = &error else {
            return error.into();
        };
        let how = go_on::advise(&self.subscriber, &self.times);
        Failure::new(Exit::Unreachable, format!("{reason}; to go on, {how}"))
    }

    fn is_done(&self) -> bool {
        let reached = |ends| self.subscriber.is_caught_up_to(ends);
        self.left == Some(0) || self.ends.as_ref().is_some_and(reached)
    }

    async fn print(&mut self, batch: ReceivedBatch, writer: &mut Writer) -> Result<(), Failure> {
        let place = (batch.topic_id(), batch.partition());
        let end = self
            .ends
            .as_ref()
            .and_then(|ends| ends.get(&place).copied());
        self.times.insert(place, batch.append_time());
        for record in batch {
            let record = record?;
            if end.is_some_and(|end| record.offset >= end) || self.left == Some(0) {
                break;
            }
            self.format
                .write(&row(&record), self.width, &mut self.buffer)
                .map_err(|error| Failure::writing(&error))?;
            if let Some(left) = &mut self.left {
                *left -= 1;
            }
            if self.buffer.len() >= BUFFER_BYTES {
                self.hand_over(writer).await?;
            }
        }
        Ok(())
    }

    async fn hand_over(&mut self, writer: &mut Writer) -> Result<(), Failure> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.buffer, Vec::with_capacity(BUFFER_BYTES));
        writer.write(full).await
    }
}

fn row(record: &Received) -> Row<'_> {
    let headers = record.headers.iter();
    Row {
        topic: &record.topic,
        partition: record.partition,
        offset: record.offset,
        append_time: record.append_time,
        timestamp: record.timestamp,
        key: record.key.as_deref(),
        ordering_key: record.ordering_key.unwrap_or(OrderingKey::NONE),
        headers: headers
            .map(|header| (&*header.name, header.value.as_deref()))
            .collect(),
        value: record.value.as_deref(),
    }
}

#[cfg(test)]
mod tests {
    use weir_wire::id::Timestamp;

    use super::*;

    #[test]
    fn where_to_start() {
        assert_eq!(start("earliest"), Ok(Start::Earliest));
        assert_eq!(start("latest"), Ok(Start::Latest));
        assert_eq!(start("offset:7"), Ok(Start::Offset(Offset::new(7))));
        let expected = Timestamp::new(1_767_323_045_000);
        assert_eq!(
            start("time:2026-01-02T03:04:05Z"),
            Ok(Start::Time(expected))
        );
        assert!(matches!(start("-1h"), Ok(Start::Time(_))));
        for text in ["", "offset:", "offset:-1", "time:never", "7", "-", "-7"] {
            assert!(start(text).is_err(), "{text}");
        }
    }
}
