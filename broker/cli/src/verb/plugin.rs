//! `weir plugin`: upload components and bind them to topics. How results look is in
//! `plugin/show.rs`.

use std::path::PathBuf;
use std::str::FromStr;

use serde_json::json;
use weir_sdk::{AdminError, Client};
use weir_wire::error::ErrorCode;
use weir_wire::id::BindingId;
use weir_wire::name::{PluginName, TopicName};
use weir_wire::plugin::Hook;
use weir_wire::request::Setting;

use crate::ask::{Unasked, YesArgs};
use crate::connect::{ConnectArgs, connect};
use crate::exit::Failure;
use crate::failure::{is_unknown_topic, of_plugin, unknown_topic};
use crate::output::{self, OutputArgs};

mod bind;
mod component;
mod history;
mod limits;
mod logs;
mod new;
mod show;
mod subscriptions;
mod test;

pub use limits::cpu_time;
pub use show::{binding_json, binding_listing};

use bind::BindArgs;

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
    /// Show a plugin with its versions, its bindings, and the subscriptions that use it
    #[command(after_help = "Examples:
  weir plugin show json-key
  weir plugin show json-key --output json")]
    Show(ShowArgs),
    /// Bind a plugin to a hook of a topic, or another version of it in its place
    #[command(
        after_help = "The bindings of a hook are a chain and run in order: a new one goes to its \
end, or where --position says. A plugin that is bound there already is replaced in its place: so a \
new version is switched to, without a record dropped or processed twice. Settings, routes, policy \
and limits are those of this command, not of the binding before; what that changes is printed.

Examples:
  weir plugin bind json-key --topic flights --hook key --config field=tailnum
  weir plugin bind json-route --topic flights --hook route --config field=origin \\
      --to JFK=flights-jfk --to '*=flights-other'
  weir plugin bind json-transform --topic flights --hook transform --position 0 \\
      --config mask=tailnum --on-error dead-letter --cpu-time 50ms --memory 32MiB"
    )]
    Bind(BindArgs),
    /// End a binding
    #[command(
        after_help = "Records go on without it, as they were produced. Nothing is lost, so \
nobody is asked where nobody can be.

Examples:
  weir plugin unbind 3
  weir plugin unbind 3 --yes"
    )]
    Unbind(UnbindArgs),
    /// Show how the bindings of a topic changed, and from which offsets on
    #[command(
        after_help = "An event names the first offset of each partition behind it: records from \
there on went by the bindings after it, records before by those before it.

Examples:
  weir plugin history --topic flights
  weir plugin history --topic flights --output json"
    )]
    History(HistoryArgs),
    /// Bind again what a plugin's binding took the place of: version, settings, routes, limits
    #[command(
        after_help = "Rolling back is a change like any other: doing it twice brings back what \
was there before.

Examples:
  weir plugin rollback json-route --topic flights
  weir plugin rollback json-tools --topic flights --hook key"
    )]
    Rollback(RollbackArgs),
    /// Let a binding work again that rests after grave failures, and forget these
    #[command(after_help = "Examples:
  weir plugin unquarantine 3
  weir plugin unquarantine 3 --broker weir://127.0.0.1:7650")]
    Unquarantine(UnquarantineArgs),
    /// Show what a plugin has logged
    #[command(
        after_help = "The broker keeps the last lines of each binding of a topic, and of each \
filter or projection of a subscription, also of the last ones that have ended.

Examples:
  weir plugin logs json-route
  weir plugin logs json-route --follow --output json"
    )]
    Logs(logs::LogsArgs),
    /// Try a plugin on records of a file or a topic: what it answers, and what it costs
    #[command(
        after_help = "The plugin runs in this process; nothing is stored, and no broker is needed \
for a file. Times are processor time per record, of batches of 1000 records. With --against, the \
same records go through another version too.

--to has two meanings. With a = in it, or for the hook route without --topic, it declares a route, \
as --route does; else it ends the range of the topic: --to offset:N (the records below N) or \
--to time:T.

Examples:
  weir plugin test plugins/prebuilt/json-filter.wasm --hook filter \\
      --config 'where=dep_delay > 15' --input examples/data/flights-sample.ndjson.gz
  weir plugin test plugins/prebuilt/json-route.wasm --hook route --config field=origin \\
      --route JFK --route '*' --topic flights --from time:-1h --limit 100000"
    )]
    Test(Box<test::TestArgs>),
    /// Write a new plugin's project: one that builds and passes its own test
    #[command(
        after_help = "Nothing is overwritten. The project brings the kit with it, so it \
builds wherever it lies.

Examples:
  weir plugin new late-flights --lang rust --hook filter
  weir plugin new by-customer --lang rust --hook key --dir plugins/by-customer"
    )]
    New(new::NewArgs),
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

/// Arguments of `plugin unbind`.
#[derive(Debug, clap::Args)]
pub struct UnbindArgs {
    /// The binding's number, as `weir plugin show` and `weir topic describe` print it
    #[arg(value_parser = binding_id)]
    binding: BindingId,
    #[command(flatten)]
    yes: YesArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Arguments of `plugin history`.
#[derive(Debug, clap::Args)]
pub struct HistoryArgs {
    /// The topic
    #[arg(long)]
    topic: TopicName,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Arguments of `plugin rollback`.
#[derive(Debug, clap::Args)]
pub struct RollbackArgs {
    /// The plugin
    name: PluginName,
    /// The topic that it is bound to
    #[arg(long)]
    topic: TopicName,
    /// The hook, where it is bound to several
    #[arg(long, value_parser = bind::produce_hook)]
    hook: Option<Hook>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Arguments of `plugin unquarantine`.
#[derive(Debug, clap::Args)]
pub struct UnquarantineArgs {
    /// The binding's number, as `weir status` and `weir plugin show` print it
    #[arg(value_parser = binding_id)]
    binding: BindingId,
    #[command(flatten)]
    output: OutputArgs,
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
    output: OutputArgs,
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
            show::print_plugins(args.output.output, &plugins)
        }
        PluginVerb::Show(args) => {
            let client = connect(&args.connect).await?;
            let name = args.name.as_str();
            match client.admin().describe_plugin(name).await {
                Ok(plugin) => show::print_plugin(args.output.output, &plugin),
                Err(error) => Err(of_plugin(&client, name, error).await),
            }
        }
        PluginVerb::Bind(args) => bind::run(args).await,
        PluginVerb::Unbind(args) => unbind(args).await,
        PluginVerb::History(args) => history(args).await,
        PluginVerb::Rollback(args) => rollback(args).await,
        PluginVerb::Unquarantine(args) => unquarantine(args).await,
        PluginVerb::Logs(args) => logs::run(args).await,
        PluginVerb::Test(args) => test::run(*args).await,
        PluginVerb::New(args) => new::run(args),
        PluginVerb::Remove(args) => remove(args).await,
    }
}

async fn push(args: PushArgs) -> Result<(), Failure> {
    let component = component::read(&args.file)?;
    let client = connect(&args.connect).await?;
    let name = args.name.as_str();
    let pushed = client.admin().push_plugin(name, component).await?;
    show::print_pushed(args.output.output, &args.name, &pushed)
}

async fn unbind(args: UnbindArgs) -> Result<(), Failure> {
    let question = format!("end binding {}? records go on without it", args.binding);
    args.yes.confirm(&question, Unasked::Allow)?;
    let client = connect(&args.connect).await?;
    client.admin().unbind(args.binding).await?;
    let object = json!({ "binding": args.binding.value(), "unbound": true });
    let text = format!("binding {} has ended", args.binding);
    output::print_done(args.output.output, &object, &text)
}

async fn history(args: HistoryArgs) -> Result<(), Failure> {
    let client = connect(&args.connect).await?;
    let name = args.topic.to_string();
    let events = match client.admin().history(&name).await {
        Ok(events) => events,
        Err(error) => return Err(of_topic(&client, &name, error).await),
    };
    history::print(args.output.output, &args.topic, &events)
}

async fn rollback(args: RollbackArgs) -> Result<(), Failure> {
    let client = connect(&args.connect).await?;
    let name = args.topic.to_string();
    let admin = client.admin();
    let before = bind::bindings_of(&client, &args.topic).await;
    let (binding, replaced) = match admin.rollback(args.name.as_str(), &name, args.hook).await {
        Ok(bound) => bound,
        Err(error) => return Err(of_topic(&client, &name, error).await),
    };
    let old = before.iter().find(|old| Some(old.id) == replaced);
    show::print_bound(args.output.output, &binding, replaced, old)
}

/// An error that a wrong name of a topic may be behind.
async fn of_topic(client: &Client, name: &str, error: AdminError) -> Failure {
    if is_unknown_topic(error.fault()) {
        return unknown_topic(client, &[name.to_owned()]).await;
    }
    error.into()
}

async fn unquarantine(args: UnquarantineArgs) -> Result<(), Failure> {
    let client = connect(&args.connect).await?;
    client.admin().unquarantine(args.binding).await?;
    let object = json!({ "binding": args.binding.value(), "unquarantined": true });
    let text = format!("binding {} is tried again", args.binding);
    output::print_done(args.output.output, &object, &text)
}

async fn remove(args: RemoveArgs) -> Result<(), Failure> {
    let client = connect(&args.connect).await?;
    let name = args.plugin.name.as_str();
    let version = args.plugin.version.as_deref();
    check_plugin(&client, &args.plugin).await?;
    let question = format!("remove plugin {}?", args.plugin);
    args.yes.confirm(&question, Unasked::Refuse)?;
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
        Err(error) => return Err(of_plugin(&client, name, error).await),
    }
    let object = json!({ "plugin": name, "version": version, "removed": true });
    let text = format!("plugin {} is removed", args.plugin);
    output::print_done(args.output.output, &object, &text)
}

/// Nobody is asked about what does not exist.
async fn check_plugin(client: &Client, plugin: &PluginRef) -> Result<(), Failure> {
    let name = plugin.name.as_str();
    let known = match client.admin().describe_plugin(name).await {
        Ok(known) => known.plugin,
        Err(error) => return Err(of_plugin(client, name, error).await),
    };
    let begins = |digits: &String| {
        let mut versions = known.versions.iter();
        versions.any(|it| it.version.to_string().starts_with(digits))
    };
    match &plugin.version {
        Some(digits) if !begins(digits) => Err(Failure::failed(format!(
            "no version of plugin {name:?} begins with {digits:?} (see them: weir plugin show \
             {name})"
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
