//! `weir plugin bind`.

use weir_sdk::Client;
use weir_wire::id::{BindingId, PartitionId};
use weir_wire::name::TopicName;
use weir_wire::plugin::{ErrorPolicy, Hook};
use weir_wire::request::{Bind, BindingInfo, Route, Setting};

use super::limits::LimitArgs;
use super::{PluginRef, binding_id, setting, show};
use crate::connect::{ConnectArgs, connect};
use crate::exit::Failure;
use crate::failure::{is_unknown_plugin, is_unknown_topic, unknown_plugin, unknown_topic};
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
    #[arg(
        long,
        value_name = "P",
        conflicts_with = "replace",
        value_parser = size::parse_count::<u32>
    )]
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
    let before = bindings_of(&client, &request.topic).await;
    let (binding, replaced) = match client.admin().bind(&request).await {
        Ok(bound) => bound,
        Err(error) if is_unknown_topic(error.fault()) => {
            return Err(missing_topic_of(&client, &request).await);
        }
        Err(error) if is_unknown_plugin(error.fault()) => {
            return Err(unknown_plugin(&client, &[request.plugin.as_str()]).await);
        }
        Err(error) => return Err(error.into()),
    };
    let old = before.iter().find(|old| Some(old.id) == replaced);
    show::print_bound(args.output.output, &binding, replaced, old)
}

/// What is bound to the topic, to tell what a new version changes beside itself.
pub(super) async fn bindings_of(client: &Client, topic: &TopicName) -> Vec<BindingInfo> {
    let described = client.admin().describe_topic(&topic.to_string()).await;
    // If that fails, what is asked for next fails too, and says why.
    described.map_or_else(|_| Vec::new(), |topic| topic.bindings)
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
