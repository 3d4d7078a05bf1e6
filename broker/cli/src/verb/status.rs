//! `weir status`: the first thing an operator types.

use std::time::Duration;

use serde_json::{Value, json};
use weir_wire::request::BrokerStatus;

use super::plugin::{binding_json, binding_listing};
use crate::connect::{ConnectArgs, connect};
use crate::exit::Failure;
use crate::output::{self, OutputArgs};
use crate::record::Shown;
use crate::{size, time};

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  weir status
  weir status --output json --broker weir://broker.example:7650 --ca ca.pem")]
pub struct StatusArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Does it.
pub async fn run(args: StatusArgs) -> Result<(), Failure> {
    let client = connect(&args.connect).await?;
    let status = client.admin().status().await?;
    let uptime = time::now().value().saturating_sub(status.started.value());
    let uptime = Duration::from_millis(u64::try_from(uptime).unwrap_or_default());
    let object = json(&status, uptime);
    output::print_one(args.output.output, &object, &text(&status, uptime))
}

fn text(status: &BrokerStatus, uptime: Duration) -> String {
    let seconds = uptime.as_secs_f64().max(1.0);
    let flow = |records: u64, bytes: u64| {
        format!(
            "{} records, {} ({:.0} records/s since the start)",
            size::count(records),
            size::bytes(bytes),
            records as f64 / seconds,
        )
    };
    let mut text = format!(
        "weir {}, up {}, data in {}\n\n\
         topics         {}, {}\n\
         clients        {}, {}\n\
         sessions       {} remembered for producers that come back\n\
         in             {}\n\
         out            {}\n\
         disk           {} log, {} free\n\
         memory         {}\n",
        status.version,
        time::format_duration(uptime),
        status.data_dir,
        size::count(status.topics),
        size::counted(status.partitions, "partition"),
        size::counted(status.connections, "connection"),
        size::counted(status.subscriptions, "subscription"),
        size::count(status.producers),
        flow(status.records_in, status.bytes_in),
        flow(status.records_out, status.bytes_out),
        size::bytes(status.log_bytes),
        size::bytes(status.free_bytes),
        size::bytes(status.memory_bytes),
    );
    if !status.bindings.is_empty() {
        text.push('\n');
        text.push_str(&binding_listing(&status.bindings).render(None));
        text.push('\n');
    }
    // Among these is what binding failed last, and which one is quarantined.
    for warning in &status.warnings {
        text.push_str(&format!("warning: {}\n", Shown(warning.as_bytes())));
    }
    text
}

fn json(status: &BrokerStatus, uptime: Duration) -> Value {
    let bindings = status.bindings.iter().map(|binding| {
        let mut object = binding_json(binding);
        if let Some(fields) = object.as_object_mut() {
            // A status does not tell them; `weir plugin show` does.
            fields.retain(|name, _| name != "config" && name != "routes");
        }
        object
    });
    let bindings: Vec<_> = bindings.collect();
    json!({
        "version": status.version,
        "started": time::format(status.started),
        "uptime_seconds": uptime.as_secs(),
        "data_dir": status.data_dir,
        "topics": status.topics,
        "partitions": status.partitions,
        "connections": status.connections,
        "producers": status.producers,
        "subscriptions": status.subscriptions,
        "records_in": status.records_in,
        "bytes_in": status.bytes_in,
        "records_out": status.records_out,
        "bytes_out": status.bytes_out,
        "log_bytes": status.log_bytes,
        "free_bytes": status.free_bytes,
        "memory_bytes": status.memory_bytes,
        "bindings": bindings,
        "warnings": status.warnings,
    })
}
