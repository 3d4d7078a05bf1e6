//! `weir plugin`: upload components and bind them to topics. How results look is in
//! `plugin/show.rs`.

use std::path::PathBuf;
use std::str::FromStr;

use bytes::Bytes;
use weir_sdk::Client;
use weir_wire::error::ErrorCode;
use weir_wire::id::{BindingId, PartitionId};
use weir_wire::name::{PluginName, TopicName};
use weir_wire::plugin::{ErrorPolicy, Hook};
use weir_wire::request::{Bind, Route, Setting};

use crate::ask::{Unasked, YesArgs};
use crate::connect::{ConnectArgs, connect};
use crate::exit::Failure;
use crate::failure::{is_unknown_topic, unknown_topic};
use crate::output::{self, OutputArgs};

mod show;

pub use show::{binding_json, binding_listing};

/// What can be done with plugins.
#[derive(Debug, clap::Subcommand)]
pub enum PluginVerb {
    /// Upload a component as a version of a plugin; the broker compiles and checks it
    #[command(after_help = "Examples:
  weir plugin push plugins/prebuilt/json-key.wasm --name json-key
  weir plugin push target/my-filter.wasm --name my-filter --output json")]
    Push(PushArgs),
    /// List all plugins
    #[command(after_help = "Examples:
  weir plugin list
  weir plugin list --output json")]
    List(ListArgs),
    /// Show a plugin with its versions and bindings
    #[command(after_help = "Examples:
  weir plugin show json-key
  weir plugin show json-key --output json")]
    Show(ShowArgs),
    /// Bind a plugin to a hook of a topic, in place of what is bound there
    #[command(after_help = "Examples:
  weir plugin bind json-key --topic flights --hook key --config field=tailnum
  weir plugin bind json-route --topic flights --hook route --config field=origin \\
      --to JFK=flights-jfk --to '*=flights-other'")]
    Bind(BindArgs),
    /// End a binding
    #[command(after_help = "Examples:
  weir plugin unbind 3
  weir plugin unbind 3 --yes")]
    Unbind(UnbindArgs),
    /// Remove a plugin or one version of it; refused while something uses it
    #[command(after_help = "Examples:
  weir plugin remove json-key
  weir plugin remove json-key@3f2a --yes")]
    Remove(RemoveArgs),
}

/// Arguments of `plugin push`.
#[derive(Debug, clap::Args)]
pub struct PushArgs {
    /// The component
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    /// The plugin that it is a version of
    #[arg(long)]
    name: PluginName,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Arguments of `plugin list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Arguments of `plugin show`.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// The plugin
    name: PluginName,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Arguments of `plugin bind`.
#[derive(Debug, clap::Args)]
pub struct BindArgs {
    /// The plugin; its latest version, or one by the first digits of its hash
    #[arg(value_name = "NAME[@VERSION]")]
    plugin: PluginRef,
    /// The topic
    #[arg(long)]
    topic: TopicName,
    /// Where it runs
    #[arg(long, value_parser = produce_hook)]
    hook: Hook,
    /// A setting of the plugin
    #[arg(long = "config", value_name = "K=V", value_parser = setting)]
    config: Vec<Setting>,
    /// For the hook `route`: where a value leads; `*` stands for every other value
    #[arg(long = "to", value_name = "VALUE=TOPIC[:PARTITION]", value_parser = route)]
    routes: Vec<Route>,
    /// What happens to a record on which it fails: fail (the default) or drop
    #[arg(long, value_name = "POLICY")]
    on_error: Option<ErrorPolicy>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Arguments of `plugin unbind`.
#[derive(Debug, clap::Args)]
pub struct UnbindArgs {
    /// The binding's number, as `weir plugin show` and `weir topic describe` print it
    #[arg(value_parser = binding_id)]
    binding: BindingId,
    #[command(flatten)]
    yes: YesArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Arguments of `plugin remove`.
#[derive(Debug, clap::Args)]
pub struct RemoveArgs {
    /// The plugin, or one version of it
    #[arg(value_name = "NAME[@VERSION]")]
    plugin: PluginRef,
    #[command(flatten)]
    yes: YesArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// A plugin, and perhaps one of its versions: `NAME[@VERSION]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginRef {
    /// The plugin.
    pub name: PluginName,
    /// The first digits of the version's hash.
    pub version: Option<String>,
}

impl FromStr for PluginRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, version) = match text.split_once('@') {
            Some((name, version)) => (name, Some(version)),
            None => (text, None),
        };
        let name = name.parse().map_err(|error| format!("{error}"))?;
        let is_hash = |version: &str| {
            (1..=64).contains(&version.len()) && version.bytes().all(|b| b.is_ascii_hexdigit())
        };
        match version {
            Some(version) if !is_hash(version) => Err(format!(
                "{version:?} is no version; it is the first digits of a hash"
            )),
            _ => Ok(Self {
                name,
                version: version.map(str::to_ascii_lowercase),
            }),
        }
    }
}

impl std::fmt::Display for PluginRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{}@{version}", self.name),
            None => write!(f, "{}", self.name),
        }
    }
}

/// Reads `K=V`.
pub fn setting(text: &str) -> Result<Setting, String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok(Setting {
            name: name.to_owned(),
            value: value.to_owned(),
        }),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

/// Reads `VALUE=TOPIC[:PARTITION]`; the value may hold a `=`, the topic may not.
fn route(text: &str) -> Result<Route, String> {
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

fn produce_hook(text: &str) -> Result<Hook, String> {
    match text.parse() {
        Ok(hook @ (Hook::Key | Hook::Route)) => Ok(hook),
        Ok(Hook::Filter) => {
            Err("a filter belongs to a subscription: weir consume TOPIC --filter NAME".to_owned())
        }
        _ => Err("a topic has the hooks key and route".to_owned()),
    }
}

fn binding_id(text: &str) -> Result<BindingId, String> {
    let number = text.parse().map_err(|_| "it is a number".to_owned());
    number.map(BindingId::new)
}

/// Does it.
pub async fn run(verb: PluginVerb) -> Result<(), Failure> {
    match verb {
        PluginVerb::Push(args) => push(args).await,
        PluginVerb::List(args) => {
            let client = connect(&args.connect).await?;
            let plugins = client.admin().list_plugins().await?;
            client.close().await;
            show::print_plugins(args.output.output, &plugins)
        }
        PluginVerb::Show(args) => {
            let client = connect(&args.connect).await?;
            let plugin = client.admin().describe_plugin(args.name.as_str()).await?;
            client.close().await;
            show::print_plugin(args.output.output, &plugin)
        }
        PluginVerb::Bind(args) => bind(args).await,
        PluginVerb::Unbind(args) => unbind(args).await,
        PluginVerb::Remove(args) => remove(args).await,
    }
}

async fn push(args: PushArgs) -> Result<(), Failure> {
    let component = std::fs::read(&args.file).map_err(|error| {
        Failure::failed(format!("cannot read {}: {error}", args.file.display()))
    })?;
    let client = connect(&args.connect).await?;
    let name = args.name.as_str();
    let pushed = client
        .admin()
        .push_plugin(name, Bytes::from(component))
        .await?;
    client.close().await;
    show::print_pushed(args.output.output, &args.name, &pushed)
}

async fn bind(args: BindArgs) -> Result<(), Failure> {
    let wrong = match (args.hook, args.routes.is_empty(), args.on_error) {
        (Hook::Route, true, _) => Some("a route leads somewhere; add --to VALUE=TOPIC".to_owned()),
        (Hook::Key, false, _) => Some("--to belongs to the hook route".to_owned()),
        (hook, _, Some(policy)) if !hook.policies().contains(&policy) => Some(format!(
            "the hook {hook} does not know the policy {policy}; use fail or drop"
        )),
        _ => None,
    };
    if let Some(wrong) = wrong {
        return Err(Failure::usage(wrong));
    }
    let client = connect(&args.connect).await?;
    let request = Bind {
        plugin: args.plugin.name,
        version: args.plugin.version,
        topic: args.topic,
        hook: args.hook,
        config: args.config,
        routes: args.routes,
        on_error: args.on_error,
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

/// The topic itself, or one that a route leads to.
async fn missing_topic_of(client: &Client, request: &Bind) -> Failure {
    let routes = request.routes.iter().map(|route| route.topic.to_string());
    let names: Vec<_> = std::iter::once(request.topic.to_string())
        .chain(routes)
        .collect();
    unknown_topic(client, &names).await
}

async fn unbind(args: UnbindArgs) -> Result<(), Failure> {
    let question = format!("end binding {}? records go on without it", args.binding);
    args.yes.confirm(&question, Unasked::Allow)?;
    let client = connect(&args.connect).await?;
    client.admin().unbind(args.binding).await?;
    output::note(&format!("binding {} has ended", args.binding));
    client.close().await;
    Ok(())
}

async fn remove(args: RemoveArgs) -> Result<(), Failure> {
    let question = format!("remove plugin {}?", args.plugin);
    args.yes.confirm(&question, Unasked::Refuse)?;
    let client = connect(&args.connect).await?;
    let name = args.plugin.name.as_str();
    let version = args.plugin.version.as_deref();
    match client.admin().remove_plugin(name, version).await {
        Ok(()) => {}
        Err(error)
            if error
                .fault()
                .is_some_and(|f| f.code == ErrorCode::PluginInUse) =>
        {
            if let Ok(plugin) = client.admin().describe_plugin(name).await
                && !plugin.bindings.is_empty()
            {
                output::note(&binding_listing(&plugin.bindings).render(None));
            }
            return Err(error.into());
        }
        Err(error) => return Err(error.into()),
    }
    output::note(&format!("plugin {} is removed", args.plugin));
    client.close().await;
    Ok(())
}

#[cfg(test)]
mod tests;
