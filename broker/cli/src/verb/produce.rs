//! `weir produce`: what it is told, and how it begins. The sending is in `produce/send.rs`, the
//! counting in `produce/tally.rs`, bad lines in `produce/bad.rs`.

use std::path::PathBuf;

use weir_sdk::{Ack, Client, Compression, Producer};
use weir_wire::id::PartitionId;
use weir_wire::name::TopicName;

use crate::connect::{ConnectArgs, connect};
use crate::exit::Failure;
use crate::failure::{is_unknown_topic, unknown_topic};
use crate::input::{LineArgs, LineNumber, Source, read_in_background};
use crate::output::OutputArgs;
use crate::verb::consume;
use crate::{bar, runtime, size};

mod again;
mod bad;
mod open_lines;
mod pace;
mod send;
mod tally;
mod waiting;
mod watch;

use bad::BadLines;
use send::{Dressing, Sending, Setup};

/// Arguments of `produce`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Gzip and zstd are recognised. A line is kept byte for byte up to its \\n, a \\r \
too. A field used as key or tag: a string gives its text, a number or bool its JSON, null or \
nothing gives none.

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
    #[command(flatten)]
    lines: LineArgs,
    /// The partition; without one the key decides
    #[arg(long, value_name = "N", value_parser = consume::partition)]
    partition: Option<PartitionId>,
    /// When a record counts as sent: fsynced, in the broker's memory, or at once
    #[arg(long, value_enum, default_value_t = AckWord::Durable)]
    ack: AckWord,
    /// Leave out so many lines at the start
    #[arg(
        long,
        value_name = "LINES",
        default_value_t = 0,
        value_parser = size::parse_count::<u64>
    )]
    skip: u64,
    /// Send no more than so many lines, behind those that are left out
    #[arg(long, value_name = "LINES", value_parser = size::parse_count::<u64>)]
    limit: Option<u64>,
    /// Send batches of at most so many bytes [default: 1MiB, or what the broker's log takes]
    #[arg(long, value_name = "SIZE", value_parser = size::parse_bytes)]
    batch_bytes: Option<u64>,
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

/// Does it.
pub fn run(args: ProduceArgs) -> Result<(), Failure> {
    let rules = args.lines.rules(&args.input)?;
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
            client,
            producer,
            skip,
            last: args
                .limit
                .map(|limit| LineNumber::new(args.skip.saturating_add(limit))),
            chunks: read_in_background(source, rules, skip),
            dressing: Dressing {
                headers: args.lines.headers,
                tag: args.lines.tag,
                one_way: args.ack == AckWord::None,
            },
            bad,
            pace: pace::Pace::new(args.rate),
            bar: bar::Bar::new(progress),
        });
        sending.run(args.output.output).await
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
    if let Some(bytes) = args.batch_bytes {
        builder = builder.batch_bytes(usize::try_from(bytes).unwrap_or(usize::MAX));
    }
    match builder.open().await {
        Ok(producer) => Ok((client, producer)),
        Err(error) if is_unknown_topic(error.fault()) => Err(unknown_topic(&client, &[name]).await),
        Err(error) => Err(error.into()),
    }
}
