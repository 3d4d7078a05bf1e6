//! `weir topic truncate`: the oldest records of a topic go for good.

use serde_json::json;
use weir_wire::id::{Offset, PartitionId, Timestamp};
use weir_wire::name::TopicName;
use weir_wire::request::{PartitionTruncated, TopicDescription, TruncateTopic};

use super::explain;
use crate::ask::{Unasked, YesArgs};
use crate::connect::{ConnectArgs, connect};
use crate::exit::Failure;
use crate::output::{self, Listing, OutputArgs};
use crate::{size, time};

/// Arguments of `topic truncate`.
#[derive(Debug, clap::Args)]
pub struct TruncateArgs {
    /// The topic
    name: TopicName,
    /// What goes: the records below an offset (120, offset:120), or the batches appended before a
    /// time (2026-01-02T03:04:05Z, or -1h)
    #[arg(
        long,
        value_name = "OFFSET|TIME",
        value_parser = before,
        allow_hyphen_values = true
    )]
    before: Before,
    /// Only in this partition
    #[arg(long, value_name = "N")]
    partition: Option<u32>,
    #[command(flatten)]
    yes: YesArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Which records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Offset(Offset),
    Time(Timestamp),
}

fn before(text: &str) -> Result<Before, String> {
    let number = text.strip_prefix("offset:").unwrap_or(text);
    if let Ok(number) = number.parse() {
        return Ok(Before::Offset(Offset::new(number)));
    }
    let text = text.strip_prefix("time:").unwrap_or(text);
    time::parse(text, time::now())
        .map(Before::Time)
        .map_err(|_| {
            "write an offset such as 120, or a time such as 2026-01-02T03:04:05Z or -1h".to_owned()
        })
}

/// Does it.
pub async fn run(args: TruncateArgs) -> Result<(), Failure> {
    let client = connect(&args.connect).await?;
    let name = args.name.to_string();
    let partition = args.partition.map(PartitionId::new);
    let described = client.admin().describe_topic(&name).await;
    let described = explain(described, &client, &name).await?;
    let question = question(&name, args.before, partition, &described);
    args.yes.confirm(&question, Unasked::Refuse)?;
    let (before_offset, before_time) = match args.before {
        Before::Offset(offset) => (Some(offset), None),
        Before::Time(time) => (None, Some(time)),
    };
    let request = TruncateTopic {
        name: args.name,
        before_offset,
        before_time,
        partition,
    };
    let truncated = client.admin().truncate_topic(&request).await;
    let truncated = explain(truncated, &client, &name).await?;
    let partitions: Vec<_> = truncated.iter().map(partition_json).collect();
    let object = json!({ "topic": name, "partitions": partitions });
    output::print_one(args.output.output, &object, &text(&truncated))
}

fn question(
    name: &str,
    before: Before,
    partition: Option<PartitionId>,
    described: &TopicDescription,
) -> String {
    let place = partition.map_or_else(String::new, |number| format!(" partition {number}"));
    match before {
        Before::Time(time) => {
            let time = time::format(time);
            format!("remove what was appended to topic {name:?}{place} before {time}, for good?")
        }
        Before::Offset(offset) => {
            let concerned = described.partitions.iter();
            let concerned = concerned.filter(|it| partition.is_none_or(|one| it.partition == one));
            // Where compaction removed some there are fewer.
            let gone = |end: Offset, start: Offset| end.min(offset).max(start).since(start);
            let gone: u64 = concerned.map(|it| gone(it.end, it.start)).sum();
            let count = size::count(gone);
            format!(
                "remove the records of topic {name:?}{place} below offset {offset} (up to \
                 {count}), for good?"
            )
        }
    }
}

fn partition_json(truncated: &PartitionTruncated) -> serde_json::Value {
    json!({
        "partition": truncated.partition.value(),
        "before": truncated.before.value(),
        "start": truncated.start.value(),
    })
}

fn text(truncated: &[PartitionTruncated]) -> String {
    let mut table = Listing::new(&["partition#", "began at#", "begins at#"]);
    for one in truncated {
        table.row([
            one.partition.to_string(),
            one.before.to_string(),
            one.start.to_string(),
        ]);
    }
    table.render(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_and_times_are_told_apart() {
        let offset = |number| Ok(Before::Offset(Offset::new(number)));
        assert_eq!(before("120"), offset(120));
        assert_eq!(before("offset:0"), offset(0));
        let time = time::parse("2026-01-02", Timestamp::new(0)).unwrap();
        assert_eq!(before("2026-01-02"), Ok(Before::Time(time)));
        assert_eq!(before("time:2026-01-02T00:00:00Z"), Ok(Before::Time(time)));
        assert!(matches!(before("-1h"), Ok(Before::Time(_))));
        for text in ["", "-1", "yesterday", "offset:x"] {
            assert!(before(text).is_err(), "{text}");
        }
    }
}
