//! `weir demo`: the whole job on real data, in a broker of its own, checked against answers that
//! are computed from the input alone.
//!
//! `demo/flights.rs` computes the answers, `demo/job.rs` does the job, `demo/check.rs` compares,
//! `demo/report.rs` tells.

use std::path::PathBuf;

use crate::embedded::Embedded;
use crate::exit::Failure;
use crate::input::Source;
use crate::output::{self, OutputArgs};

mod check;
mod flights;
mod job;
mod report;

use flights::Flights;
use job::Job;

/// The flights that the program brings along.
const SAMPLE: &[u8] = include_bytes!("../../../../examples/data/flights-sample.ndjson.gz");
const SAMPLE_NAME: &str = "examples/data/flights-sample.ndjson.gz";

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  weir demo
  weir demo --input examples/data/flights-sample.ndjson.gz --output json")]
pub struct DemoArgs {
    /// Other flights: a JSON object per line with origin, tailnum, carrier and dep_delay
    #[arg(long, value_name = "FILE.ndjson[.gz]")]
    input: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Does it.
pub async fn run(args: DemoArgs) -> Result<(), Failure> {
    let name = match &args.input {
        Some(path) => path.display().to_string(),
        None => SAMPLE_NAME.to_owned(),
    };
    let source = match &args.input {
        Some(path) => Source::open(path),
        None => Source::from_bytes(SAMPLE),
    };
    let unreadable = |error| Failure::failed(format!("cannot read {name}: {error}"));
    let flights = Flights::read(source.map_err(unreadable)?).await?;
    let data = tempfile::tempdir()
        .map_err(|error| Failure::failed(format!("cannot make a temporary directory: {error}")))?;
    let broker = Embedded::start(data.path()).await?;
    let client = broker.connect().await?;
    let done = Job::new(&client, &flights).run().await;
    client.close().await;
    broker.stop().await;
    let findings = done?;
    let object = report::json(&findings);
    let printed = output::print_one(args.output.output, &object, &report::text(&findings, &name));
    match findings.problems.total() {
        0 => printed,
        count => Err(Failure::failed(format!(
            "{count} answers were wrong; the report names them"
        ))),
    }
}
