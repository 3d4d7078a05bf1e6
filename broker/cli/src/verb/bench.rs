//! `weir bench`: how fast a broker is, beside what QUIC and the disk allow in the same minutes.
//!
//! Every measurement has its file; `bench/site.rs` is the broker under test, `bench/limits.rs` the
//! limits of the machine, `bench/report.rs` the results. The load runs on the one thread of the
//! client's runtime, apart from the broker's.

use std::path::PathBuf;
use std::time::Duration;

use weir_wire::limits::{BATCH_BYTES_MAX, BATCH_INFLATED_MAX};

use crate::connect::ConnectArgs;
use crate::exit::Failure;
use crate::output::{Format, OutputArgs};
use crate::size;

mod consume;
mod disk;
mod isolation;
mod latency;
mod limits;
mod load;
mod partitions;
mod plugin;
mod produce;
mod report;
mod single;
mod site;
mod stream;

use limits::{Limits, Wanted};
use report::Report;
use site::Site;

/// What can be measured.
#[derive(Debug, clap::Subcommand)]
pub enum BenchVerb {
    /// Durable throughput: batches, many in flight, every acknowledgement fsynced
    #[command(after_help = "Examples:
  weir bench produce --embedded /tmp
  weir bench produce --producers 4 --seconds 10 --output json
  weir bench produce --steady --embedded /tmp")]
    Produce(ProduceArgs),
    /// Throughput of a subscription: from memory, from warm files, from a cold disk
    #[command(after_help = consume::HELP)]
    Consume(ConsumeArgs),
    /// Latency: of one durable record in flight, and from sending to a subscriber at 10,000/s
    #[command(after_help = latency::HELP)]
    Latency(LatencyArgs),
    /// Durable throughput over topics of ever more partitions, against that over one partition
    #[command(after_help = partitions::HELP)]
    Partitions(PartitionsArgs),
    /// Sample plugins of every kind beside native Rust that does the same; needs no broker
    #[command(after_help = plugin::HELP)]
    Plugin(PluginArgs),
    /// Latency of one topic while a hostile plugin does its worst on another
    #[command(after_help = isolation::HELP)]
    Isolation(IsolationArgs),
    /// All of it but `partitions` and `isolation`, with one producer and with four
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
    /// Go on until 4 GiB are stored or 30 s have passed, so that segments are written and WAL
    /// files used again; then give the disk alone the same writes and syncs
    #[arg(long)]
    steady: bool,
    /// Send records one by one through the client's batching, instead of prepared batches
    #[arg(long, conflicts_with_all = ["steady", "batch", "producers"])]
    single: bool,
    #[command(flatten)]
    load: LoadArgs,
}

/// Arguments of measurements of batches that take a while.
#[derive(Debug, clap::Args)]
pub struct LoadArgs {
    #[command(flatten)]
    records: RecordArgs,
    #[command(flatten)]
    batch: BatchArgs,
    #[command(flatten)]
    time: TimeArgs,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Arguments of `bench consume`.
#[derive(Debug, clap::Args)]
pub struct ConsumeArgs {
    /// Read through tag filters, and without, instead of from files
    #[arg(long)]
    filter: bool,
    /// Bytes of values that are read through filters
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "128MiB",
        requires = "filter",
        value_parser = size::parse_bytes
    )]
    bytes: u64,
    #[command(flatten)]
    load: LoadArgs,
}

/// Arguments of `bench latency`.
#[derive(Debug, clap::Args)]
pub struct LatencyArgs {
    #[command(flatten)]
    records: RecordArgs,
    /// Subscribers that read another topic meanwhile, from its beginning, again and again
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        value_parser = clap::value_parser!(u16).range(0..=1000)
    )]
    readers: u16,
    #[command(flatten)]
    time: TimeArgs,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Arguments of `bench partitions`.
#[derive(Debug, clap::Args)]
pub struct PartitionsArgs {
    #[command(flatten)]
    records: RecordArgs,
    #[command(flatten)]
    batch: BatchArgs,
    /// Numbers of partitions, with commas between them; 1 is always among them
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "1,10,100,1000,10000",
        value_parser = clap::value_parser!(u32)
            .range(1..=i64::from(weir_wire::limits::TOPIC_PARTITIONS_MAX))
    )]
    partitions: Vec<u32>,
    /// Bytes of values that are sent to each number of partitions in each round
    #[arg(long, value_name = "SIZE", default_value = "4GiB", value_parser = size::parse_bytes)]
    bytes: u64,
    /// How often all numbers of partitions take their turn; the median counts
    #[arg(
        long,
        value_name = "N",
        default_value_t = 3,
        value_parser = clap::value_parser!(u16).range(1..=99)
    )]
    rounds: u16,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Arguments of `bench plugin`.
#[derive(Debug, clap::Args)]
pub struct PluginArgs {
    /// Bytes of a value; several with commas between them
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "100,1000",
        value_parser = clap::value_parser!(u32).range(8..=1_000_000)
    )]
    size: Vec<u32>,
    /// Records in a batch; several with commas between them
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "1,100,1000,10000",
        value_parser = clap::value_parser!(u32).range(1..=100_000)
    )]
    batch: Vec<u32>,
    #[command(flatten)]
    turn: TurnArgs,
    /// Start brokers as well, with their data in a new folder of DIR that is removed afterwards
    #[arg(long, value_name = "DIR")]
    embedded: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Arguments of `bench isolation`.
#[derive(Debug, clap::Args)]
pub struct IsolationArgs {
    #[command(flatten)]
    records: RecordArgs,
    #[command(flatten)]
    turn: TurnArgs,
    /// How often the hostile plugin and peace take their turns; the median counts
    #[arg(
        long,
        value_name = "N",
        default_value_t = 9,
        value_parser = clap::value_parser!(u16).range(1..=99)
    )]
    rounds: u16,
    /// Start a broker for this, with its data in a new folder of DIR that is removed afterwards:
    /// hostile plugins are let loose on no other
    #[arg(long, value_name = "DIR")]
    embedded: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
}

/// How long one of many measurements takes.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct TurnArgs {
    /// How long each of the many measurements takes
    #[arg(
        long,
        value_name = "S",
        default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=3600)
    )]
    seconds: u16,
}

/// What the records are like.
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
}

/// How many of them travel together.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct BatchArgs {
    /// Records in a batch
    #[arg(
        long,
        value_name = "RECORDS",
        default_value_t = 1000,
        value_parser = clap::value_parser!(u32).range(1..=100_000)
    )]
    batch: u32,
}

/// How long they flow.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct TimeArgs {
    /// How long each measurement takes
    #[arg(
        long,
        value_name = "S",
        default_value_t = 5,
        value_parser = clap::value_parser!(u16).range(1..=3600)
    )]
    seconds: u16,
}

/// Which broker is measured, and how results are printed.
#[derive(Debug, clap::Args)]
pub struct PlaceArgs {
    /// Start a broker for this, with its data in a new folder of DIR that is removed afterwards
    #[arg(long, value_name = "DIR", conflicts_with_all = ["broker", "ca", "token_file"])]
    embedded: Option<PathBuf>,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    output: OutputArgs,
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

impl Load {
    fn new(records: RecordArgs, batch: u32, time: Duration) -> Result<Self, Failure> {
        Self::at_most(BATCH_BYTES_MAX, records.size, batch, time)
    }

    fn at_most(max: usize, size: u32, batch: u32, time: Duration) -> Result<Self, Failure> {
        // With some room for what surrounds a value.
        let bytes = u64::from(batch) * (u64::from(size) + 64);
        if bytes > max as u64 {
            return Err(Failure::usage(format!(
                "a batch of {batch} records of {size} bytes is larger than a batch may be; choose \
                 a smaller --batch"
            )));
        }
        Ok(Self { size, batch, time })
    }

    /// Bytes of the values in a batch.
    pub fn batch_bytes(self) -> u64 {
        u64::from(self.size) * u64::from(self.batch)
    }
}

impl TimeArgs {
    fn time(self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }
}

impl TurnArgs {
    fn time(self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }
}

impl PluginArgs {
    fn loads(&self) -> Result<Vec<Load>, Failure> {
        let time = self.turn.time();
        let pairs = self.size.iter();
        let pairs = pairs.flat_map(|size| self.batch.iter().map(move |batch| (*size, *batch)));
        // Plugins get batches as they are without compression, when they may be larger.
        let load = |(size, batch)| Load::at_most(BATCH_INFLATED_MAX, size, batch, time);
        pairs.map(load).collect()
    }
}

impl LoadArgs {
    fn load(&self) -> Result<Load, Failure> {
        Load::new(self.records, self.batch.batch, self.time.time())
    }
}

/// Does it.
pub async fn run(verb: BenchVerb) -> Result<(), Failure> {
    match verb {
        BenchVerb::Produce(args) => produce(args).await,
        BenchVerb::Consume(args) => {
            let load = args.load.load()?;
            at(&args.load.place, Wanted::DOWN, async |site, report| {
                if args.filter {
                    consume::measure_filtered(site, load, args.bytes, report).await
                } else {
                    consume::measure(site, load, report).await
                }
            })
            .await
        }
        BenchVerb::Latency(args) => {
            let load = Load::new(args.records, 1, args.time.time())?;
            at(&args.place, Wanted::default(), async |site, report| {
                latency::measure(site, load, args.readers, report).await
            })
            .await
        }
        BenchVerb::Partitions(args) => {
            let load = Load::new(args.records, args.batch.batch, Duration::ZERO)?;
            let plan = partitions::Plan::new(load, &args.partitions, args.bytes, args.rounds)?;
            at(&args.place, Wanted::UP, async |site, report| {
                plan.measure(site, report).await
            })
            .await
        }
        BenchVerb::Plugin(args) => {
            let mut report = Report::new(args.output.output, Limits::default());
            plugin::measure(&args.loads()?, &mut report).await?;
            if let Some(directory) = &args.embedded {
                plugin::measure_lifecycle(directory, &mut report).await?;
            }
            report.finish()
        }
        BenchVerb::Isolation(args) => {
            let load = Load::new(args.records, 1, args.turn.time())?;
            let site = Site::embedded(&args.embedded).await?;
            let work = async |site: &Site, report: &mut Report| {
                isolation::measure(site, load, args.rounds, report).await
            };
            on(site, args.output.output, Wanted::default(), work).await
        }
        BenchVerb::All(args) => all(args).await,
    }
}

/// Opens the broker, measures the limits that are wanted, does the work, and ends everything.
async fn at(
    place: &PlaceArgs,
    wanted: Wanted,
    work: impl AsyncFnOnce(&Site, &mut Report) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let site = Site::open(place).await?;
    on(site, place.output.output, wanted, work).await
}

/// Measures the limits that are wanted, does the work, and ends everything.
async fn on(
    site: Site,
    format: Format,
    wanted: Wanted,
    work: impl AsyncFnOnce(&Site, &mut Report) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let result = async {
        let limits = Limits::measure(&site, wanted).await?;
        let mut report = Report::new(format, limits);
        work(&site, &mut report).await?;
        report.finish()
    }
    .await;
    site.close().await;
    result
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

async fn produce(args: ProduceArgs) -> Result<(), Failure> {
    let load = args.load.load()?;
    let producers = args.producers;
    at(&args.load.place, Wanted::UP, async |site, report| {
        if args.single {
            single::measure(site, load, report).await
        } else if args.steady {
            produce::measure_steady(site, load, producers, report).await
        } else {
            produce::measure(site, load, producers, report).await
        }
    })
    .await
}

async fn all(args: LoadArgs) -> Result<(), Failure> {
    let load = args.load()?;
    let single = Load { batch: 1, ..load };
    at(&args.place, Wanted::BOTH, async |site, report| {
        produce::measure(site, load, 1, report).await?;
        produce::measure(site, load, 4, report).await?;
        produce::measure_steady(site, load, 1, report).await?;
        single::measure(site, single, report).await?;
        consume::measure(site, load, report).await?;
        latency::measure(site, single, 0, report).await?;
        plugin::measure(&[load], report).await
    })
    .await
}
