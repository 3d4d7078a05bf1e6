//! `weir bench`: how fast a broker is, beside what QUIC and the disk allow in the same minutes.
//!
//! Every measurement has its file; `bench/site.rs` is the broker under test, `bench/limits.rs` the
//! limits of the machine, `bench/report.rs` the results. The load runs on the one thread of the
//! client's runtime, apart from the broker's.

use std::path::PathBuf;
use std::time::Duration;

use crate::connect::ConnectArgs;
use crate::exit::Failure;
use crate::output::OutputArgs;

mod consume;
mod latency;
mod limits;
mod load;
mod plugin;
mod produce;
mod report;
mod site;

use limits::{Limits, Wanted};
use report::Report;
use site::Site;

/// What can be measured.
#[derive(Debug, clap::Subcommand)]
pub enum BenchVerb {
    /// Durable throughput: batches, many in flight, every acknowledgement fsynced
    #[command(after_help = "Examples:
  weir bench produce --embedded /tmp
  weir bench produce --producers 4 --seconds 10 --output json")]
    Produce(ProduceArgs),
    /// Throughput of a subscription: from the broker's memory, then from its log
    #[command(after_help = "Examples:
  weir bench consume --embedded /tmp
  weir bench consume --seconds 2 --output json")]
    Consume(LoadArgs),
    /// Latency: of one durable record in flight, and from sending to a subscriber at 10,000/s
    #[command(after_help = "Examples:
  weir bench latency --embedded /tmp
  weir bench latency --size 100 --seconds 10 --output json")]
    Latency(LatencyArgs),
    /// The tag filter as a plugin beside the same predicate in native Rust; needs no broker
    #[command(after_help = "Examples:
  weir bench plugin
  weir bench plugin --size 100 --batch 100 --output json")]
    Plugin(PluginArgs),
    /// All of it, with one producer and with four
    #[command(after_help = "Examples:
  weir bench all --embedded /tmp
  weir bench all --seconds 2 --output json")]
    All(LoadArgs),
}

/// Arguments of `bench produce`.
#[derive(Debug, clap::Args)]
pub struct ProduceArgs {
    /// Producers, each with a connection of its own
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=64)
    )]
    producers: u16,
    #[command(flatten)]
    load: LoadArgs,
}

/// Arguments of measurements with batches and a broker.
#[derive(Debug, clap::Args)]
pub struct LoadArgs {
    #[command(flatten)]
    records: RecordArgs,
    /// Records in a batch
    #[arg(
        long,
        value_name = "RECORDS",
        default_value_t = 1000,
        value_parser = clap::value_parser!(u32).range(1..=100_000)
    )]
    batch: u32,
    #[command(flatten)]
    broker: BrokerArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Arguments of `bench latency`.
#[derive(Debug, clap::Args)]
pub struct LatencyArgs {
    #[command(flatten)]
    records: RecordArgs,
    #[command(flatten)]
    broker: BrokerArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Arguments of `bench plugin`.
#[derive(Debug, clap::Args)]
pub struct PluginArgs {
    #[command(flatten)]
    records: RecordArgs,
    /// Records in a batch
    #[arg(
        long,
        value_name = "RECORDS",
        default_value_t = 1000,
        value_parser = clap::value_parser!(u32).range(1..=100_000)
    )]
    batch: u32,
    #[command(flatten)]
    output: OutputArgs,
}

/// What the records are like and how long they flow.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct RecordArgs {
    /// Bytes of a value
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 1000,
        value_parser = clap::value_parser!(u32).range(8..=1_000_000)
    )]
    size: u32,
    /// How long each measurement takes
    #[arg(
        long,
        value_name = "S",
        default_value_t = 5,
        value_parser = clap::value_parser!(u16).range(1..=3600)
    )]
    seconds: u16,
}

/// Which broker is measured.
#[derive(Debug, clap::Args)]
pub struct BrokerArgs {
    /// Start a broker for this, with its data in a new folder of DIR that is removed afterwards
    #[arg(long, value_name = "DIR", conflicts_with_all = ["broker", "ca", "token_file"])]
    embedded: Option<PathBuf>,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// What flows, for the measurements.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Bytes of a value.
    pub size: u32,
    /// Records in a batch.
    pub batch: u32,
    /// How long.
    pub time: Duration,
}

impl RecordArgs {
    fn load(self, batch: u32) -> Result<Load, Failure> {
        // With some room for what surrounds a value.
        let bytes = u64::from(batch) * (u64::from(self.size) + 64);
        if bytes > weir_wire::limits::BATCH_BYTES_MAX as u64 {
            return Err(Failure::usage(format!(
                "a batch of {batch} records of {} bytes is larger than a batch may be; choose a \
                 smaller --batch",
                self.size
            )));
        }
        Ok(Load {
            size: self.size,
            batch,
            time: Duration::from_secs(self.seconds.into()),
        })
    }
}

/// Does it.
pub async fn run(verb: BenchVerb) -> Result<(), Failure> {
    match verb {
        BenchVerb::Produce(args) => produce(args).await,
        BenchVerb::Consume(args) => {
            let load = args.records.load(args.batch)?;
            let site = Site::open(&args.broker).await?;
            let limits = Limits::measure(
                &site,
                Wanted {
                    up: false,
                    down: true,
                },
            )
            .await?;
            let mut report = Report::new(args.output.output, limits);
            let result = consume::measure(&site, load, &mut report).await;
            site.close().await;
            result.and_then(|()| report.finish())
        }
        BenchVerb::Latency(args) => {
            let load = args.records.load(1)?;
            let site = Site::open(&args.broker).await?;
            let limits = Limits::measure(&site, Wanted::default()).await?;
            let mut report = Report::new(args.output.output, limits);
            let result = latency::measure(&site, load, &mut report).await;
            site.close().await;
            result.and_then(|()| report.finish())
        }
        BenchVerb::Plugin(args) => {
            let load = args.records.load(args.batch)?;
            let mut report = Report::new(args.output.output, Limits::default());
            plugin::measure(load, &mut report).await?;
            report.finish()
        }
        BenchVerb::All(args) => all(args).await,
    }
}

async fn produce(args: ProduceArgs) -> Result<(), Failure> {
    let load = args.load.records.load(args.load.batch)?;
    let site = Site::open(&args.load.broker).await?;
    let limits = Limits::measure(
        &site,
        Wanted {
            up: true,
            down: false,
        },
    )
    .await?;
    let mut report = Report::new(args.load.output.output, limits);
    let result = produce::measure(&site, load, args.producers, &mut report).await;
    site.close().await;
    result.and_then(|()| report.finish())
}

async fn all(args: LoadArgs) -> Result<(), Failure> {
    let load = args.records.load(args.batch)?;
    let single = Load { batch: 1, ..load };
    let site = Site::open(&args.broker).await?;
    let limits = Limits::measure(
        &site,
        Wanted {
            up: true,
            down: true,
        },
    )
    .await?;
    let mut report = Report::new(args.output.output, limits);
    let result = async {
        produce::measure(&site, load, 1, &mut report).await?;
        produce::measure(&site, load, 4, &mut report).await?;
        consume::measure(&site, load, &mut report).await?;
        latency::measure(&site, single, &mut report).await?;
        plugin::measure(load, &mut report).await
    }
    .await;
    site.close().await;
    result.and_then(|()| report.finish())
}
