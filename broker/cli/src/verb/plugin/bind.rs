//! `weir plugin bind`.

use std::time::Duration;

use weir_sdk::Client;
use weir_wire::id::{BindingId, PartitionId};
use weir_wire::name::TopicName;
use weir_wire::plugin::{ErrorPolicy, Hook};
use weir_wire::request::{Bind, BindingLimits, Route, Setting};

use super::{PluginRef, binding_id, setting, show};
use crate::connect::{ConnectArgs, connect};
use crate::exit::Failure;
use crate::failure::{is_unknown_topic, unknown_topic};
use crate::output::OutputArgs;
use crate::size;

/// Arguments of `plugin bind`.
#[derive(Debug, clap::Args)]
pub struct BindArgs {
    /// The plugin; its latest version, or one by the first digits of its hash
    #[arg(value_name = "NAME[@VERSION]")]
    plugin: PluginRef,
    /// The topic
    #[arg(long)]
    topic: TopicName,
    /// Where it runs: transform, route or key
    #[arg(long, value_parser = produce_hook)]
    hook: Hook,
    /// A setting of the plugin
    #[arg(long = "config", value_name = "K=V", value_parser = setting)]
    config: Vec<Setting>,
    /// For the hook `route`: where a value leads; `*` stands for every other value
    #[arg(long = "to", value_name = "VALUE=TOPIC[:PARTITION]", value_parser = route)]
    routes: Vec<Route>,
    /// What happens to a record on which it fails: fail (the default), drop, dead-letter, or
    /// skip at the hook `transform`
    #[arg(long, value_name = "POLICY")]
    on_error: Option<ErrorPolicy>,
    /// Insert it at this place of the hook's chain, from 0
    #[arg(long, value_name = "P", conflicts_with = "replace")]
    position: Option<u32>,
    /// Put it in the place of this binding
    #[arg(long, value_name = "BINDING", value_parser = binding_id)]
    replace: Option<BindingId>,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// What the calls of a plugin may cost.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits (without them the broker's own)")]
struct LimitArgs {
    /// CPU time of one call, such as 50ms
    #[arg(long, value_name = "TIME", value_parser = cpu_time)]
    cpu_time: Option<Duration>,
    /// Memory of one instance, such as 32MiB
    #[arg(long, value_name = "SIZE", value_parser = size::parse_bytes)]
    memory: Option<u64>,
    /// Bytes that one call may return, such as 8MiB
    #[arg(long, value_name = "SIZE", value_parser = size::parse_bytes)]
    output_bytes: Option<u64>,
    /// Lines that it may log in a second
    #[arg(long, value_name = "LINES")]
    log_rate: Option<u64>,
}

impl LimitArgs {
    fn limits(&self) -> Option<BindingLimits> {
        let limits = BindingLimits {
            cpu_ms: self.cpu_time.map(|time| time.as_millis() as u64),
            memory_bytes: self.memory,
            output_bytes: self.output_bytes,
            log_lines_per_second: self.log_rate,
        };
        (limits != BindingLimits::default()).then_some(limits)
    }
}

fn cpu_time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text);
    let time = time.map_err(|_| "write a time such as 50ms".to_owned())?;
    if time.subsec_nanos() % 1_000_000 != 0 {
        return Err("CPU time is counted in whole milliseconds".to_owned());
    }
    Ok(time)
}

/// Reads `VALUE=TOPIC[:PARTITION]`; the value may hold a `=`, the topic may not.
pub(super) fn route(text: &str) -> Result<Route, String> {
    let (value, place) = text.rsplit_once('=').ok_or("write VALUE=TOPIC")?;
    let (topic, partition) = match place.split_once(':') {
        None => (place, None),
        Some((topic, partition)) => {
            let number = partition.parse();
            let number = number.map_err(|_| format!("{partition:?} is no partition"))?;
            (topic, Some(PartitionId::new(number)))
        }
    };
    Ok(Route {
        value: value.to_owned(),
        topic: topic.parse().map_err(|error| format!("{error}"))?,
        partition,
    })
}

pub(super) fn produce_hook(text: &str) -> Result<Hook, String> {
    match text.parse() {
        Ok(hook @ (Hook::Transform | Hook::Route | Hook::Key)) => Ok(hook),
        Ok(Hook::Filter | Hook::Project) => Err(format!(
            "a {text} belongs to a subscription: weir consume TOPIC --{text} NAME"
        )),
        _ => Err("a topic has the hooks transform, route and key".to_owned()),
    }
}

/// Does it.
pub(super) async fn run(args: BindArgs) -> Result<(), Failure> {
    if let Some(wrong) = wrong(&args) {
        return Err(Failure::usage(wrong));
    }
    let client = connect(&args.connect).await?;
    let request = Bind {
        version: args.plugin.version,
        config: args.config,
        routes: args.routes,
        on_error: args.on_error,
        position: args.position,
        replace: args.replace,
        limits: args.limits.limits(),
        ..Bind::new(args.plugin.name, args.topic, args.hook)
    };
    let (binding, replaced) = match client.admin().bind(&request).await {
        Ok(bound) => bound,
        Err(error) if is_unknown_topic(error.fault()) => {
            return Err(missing_topic_of(&client, &request).await);
        }
        Err(error) => return Err(error.into()),
    };
    client.close().await;
    show::print_bound(args.output.output, &binding, replaced)
}

/// What no broker would accept.
fn wrong(args: &BindArgs) -> Option<String> {
    let hook = args.hook;
    let known = hook.policies();
    if let Some(limits) = args.limits.limits()
        && let Err(error) = limits.check()
    {
        return Some(error.to_string());
    }
    match (hook, args.routes.is_empty(), args.on_error) {
        (Hook::Route, true, _) => Some("a route leads somewhere; add --to VALUE=TOPIC".to_owned()),
        (Hook::Key | Hook::Transform, false, _) => {
            Some("--to belongs to the hook route".to_owned())
        }
        (_, _, Some(policy)) if !known.contains(&policy) => {
            let known: Vec<_> = known.iter().map(|policy| policy.word()).collect();
            Some(format!(
                "the hook {hook} does not know the policy {policy}; use {}",
                known.join(", ")
            ))
        }
        _ => None,
    }
}

/// The topic itself, or one that a route leads to.
async fn missing_topic_of(client: &Client, request: &Bind) -> Failure {
    let routes = request.routes.iter().map(|route| route.topic.to_string());
    let names: Vec<_> = std::iter::once(request.topic.to_string())
        .chain(routes)
        .collect();
    unknown_topic(client, &names).await
}
