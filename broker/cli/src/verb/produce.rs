//! `weir produce`: what it is told, and how it begins. The sending is in `produce/send.rs`, the
//! counting in `produce/tally.rs`, bad lines in `produce/bad.rs`.

use std::path::{Path, PathBuf};

use weir_sdk::{Ack, Client, Compression, Producer};
use weir_wire::id::PartitionId;
use weir_wire::name::TopicName;

use crate::connect::{ConnectArgs, connect};
use crate::exit::Failure;
use crate::failure::{is_unknown_topic, unknown_topic};
use crate::input::{Format, LineNumber, LineRules, Source, read_in_background};
use crate::output::OutputArgs;
use crate::{runtime, size};

mod again;
mod bad;
mod bar;
mod pace;
mod send;
mod tally;
mod waiting;

use bad::BadLines;
use send::{Dressing, Sending, Setup};

/// Arguments of `produce`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Gzip and zstd are recognised. A field used as key or tag: a string gives \
its text, a number or bool its JSON, null or nothing gives none.

Examples:
  weir produce flights examples/data/flights-sample.ndjson.gz --tag-field carrier
  printf 'k1:one\\nk2:two\\n' | weir produce orders --key-separator :"
)]
pub struct ProduceArgs {
    /// The topic
    topic: TopicName,
    /// The input; - for standard input
    #[arg(value_name = "FILE", default_value = "-")]
    input: PathBuf,
    /// How the input is cut into records; by default ndjson where a field or the file's name says
    /// so, else lines
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// The top-level JSON field that is the key
    #[arg(long, value_name = "FIELD", conflicts_with = "key_separator")]
    key_field: Option<String>,
    /// What stands between key and value in a line
    #[arg(
        long,
        value_name = "TEXT",
        value_parser = clap::builder::NonEmptyStringValueParser::new()
    )]
    key_separator: Option<String>,
    /// A header for every record
    #[arg(long = "header", value_name = "K=V", value_parser = header)]
    headers: Vec<(String, String)>,
    /// The tag of every record
    #[arg(long, conflicts_with = "tag_field")]
    tag: Option<String>,
    /// The top-level JSON field that is the tag
    #[arg(long, value_name = "FIELD")]
    tag_field: Option<String>,
    /// The partition; without one the key decides
    #[arg(long, value_name = "N", value_parser = partition)]
    partition: Option<PartitionId>,
    /// When a record counts as sent: fsynced, in the broker's memory, or at once
    #[arg(long, value_enum, default_value_t = AckWord::Durable)]
    ack: AckWord,
    /// Leave out so many lines at the start
    #[arg(long, value_name = "LINES", default_value_t = 0)]
    skip: u64,
    /// How batches are compressed: none, gzip, snappy, lz4, zstd
    #[arg(long, value_name = "CODEC", default_value_t = Compression::None)]
    compression: Compression,
    /// Send no faster than this
    #[arg(long, value_name = "RECORDS/s", value_parser = size::parse_rate)]
    rate: Option<f64>,
    /// What happens to a line that cannot be a record: fail, skip, or append it to FILE
    #[arg(long, value_name = "fail|skip|FILE", default_value = "fail")]
    on_bad_line: String,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// `--ack`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum AckWord {
    /// When it is fsynced
    Durable,
    /// When the broker has it in memory: a crash may lose it
    Memory,
    /// At once, without a reply: losses are only counted
    None,
}

impl From<AckWord> for Ack {
    fn from(word: AckWord) -> Self {
        match word {
            AckWord::Durable => Self::Durable,
            AckWord::Memory => Self::Memory,
            AckWord::None => Self::None,
        }
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    let setting = super::plugin::setting(text)?;
    Ok((setting.name, setting.value))
}

fn partition(text: &str) -> Result<PartitionId, String> {
    let number = text
        .parse()
        .map_err(|_| "it is a number, from 0".to_owned());
    number.map(PartitionId::new)
}

/// Does it.
pub fn run(args: ProduceArgs) -> Result<(), Failure> {
    let rules = line_rules(&args)?;
    let bad = BadLines::new(&args.on_bad_line)?;
    let source = Source::open(&args.input).map_err(|error| {
        Failure::failed(format!("cannot read {}: {error}", args.input.display()))
    })?;
    runtime::run_uninterrupted(async move {
        let (client, producer) = tokio::select! {
            biased;
            () = runtime::interrupt() => return Err(Failure::interrupted()),
            opened = open(&args) => opened?,
        };
        let progress = source.progress.clone();
        let skip = LineNumber::new(args.skip);
        let sending = Sending::new(Setup {
            producer,
            skip,
            chunks: read_in_background(source, rules, skip),
            dressing: Dressing {
                headers: args.headers,
                tag: args.tag,
                one_way: args.ack == AckWord::None,
            },
            bad,
            pace: pace::Pace::new(args.rate),
            bar: bar::Bar::new(progress),
        });
        let result = sending.run(args.output.output).await;
        client.close().await;
        result
    })
}

async fn open(args: &ProduceArgs) -> Result<(Client, Producer), Failure> {
    let client = connect(&args.connect).await?;
    let name = args.topic.to_string();
    let mut builder = client
        .producer(&name)
        .ack(args.ack.into())
        .compression(args.compression);
    if let Some(partition) = args.partition {
        builder = builder.partition(partition);
    }
    match builder.open().await {
        Ok(producer) => Ok((client, producer)),
        Err(error) if is_unknown_topic(error.fault()) => Err(unknown_topic(&client, &[name]).await),
        Err(error) => Err(error.into()),
    }
}

fn line_rules(args: &ProduceArgs) -> Result<LineRules, Failure> {
    let wants_field = args.key_field.is_some() || args.tag_field.is_some();
    let format = args.format.unwrap_or_else(|| {
        if wants_field || is_ndjson(&args.input) && args.key_separator.is_none() {
            Format::Ndjson
        } else {
            Format::Lines
        }
    });
    if wants_field && format != Format::Ndjson {
        return Err(Failure::usage(
            "fields are in JSON; use --format ndjson with them",
        ));
    }
    if args.key_separator.is_some() && format != Format::Lines {
        return Err(Failure::usage(
            "--key-separator splits lines; use --format lines, or --key-field with ndjson",
        ));
    }
    Ok(LineRules {
        format,
        key_field: args.key_field.clone(),
        tag_field: args.tag_field.clone(),
        key_separator: args.key_separator.clone(),
    })
}

/// Whether the file's name says that it holds a JSON document per line.
fn is_ndjson(path: &Path) -> bool {
    let name = path.to_string_lossy().to_ascii_lowercase();
    let stem = [".gz", ".zst"]
        .iter()
        .find_map(|end| name.strip_suffix(end))
        .unwrap_or(&name);
    [".ndjson", ".jsonl"].iter().any(|end| stem.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_json_lines() {
        for (name, expected) in [
            ("a.ndjson", true),
            ("a.jsonl.gz", true),
            ("A.NDJSON.zst", true),
            ("a.json", false),
            ("a.txt.gz", false),
            ("-", false),
        ] {
            assert_eq!(is_ndjson(Path::new(name)), expected, "{name}");
        }
    }
}
