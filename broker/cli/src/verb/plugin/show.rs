//! Plugins and bindings as results.

use serde_json::{Map, Value, json};
use weir_wire::id::BindingId;
use weir_wire::name::PluginName;
use weir_wire::plugin::Hook;
use weir_wire::request::{
    BindingInfo, PluginDescription, PluginInfo, PluginPushed, PluginVersionInfo,
};

use crate::exit::Failure;
use crate::output::{self, Format, Listing};
use crate::{size, time};

/// A binding as an object.
pub fn binding_json(binding: &BindingInfo) -> Value {
    let settings = binding.config.iter();
    let config: Map<String, Value> = settings
        .map(|setting| (setting.name.clone(), json!(setting.value)))
        .collect();
    let routes = binding.routes.iter().map(|route| {
        json!({
            "value": route.value,
            "topic": route.topic.to_string(),
            "partition": route.partition.map(|partition| partition.value()),
        })
    });
    let counters = &binding.counters;
    json!({
        "binding": binding.id.value(),
        "topic": binding.topic.to_string(),
        "hook": binding.hook.word(),
        "plugin": binding.plugin.to_string(),
        "version": binding.version.to_string(),
        "config": config,
        "routes": routes.collect::<Vec<_>>(),
        "on_error": binding.on_error.word(),
        "records": counters.records,
        "failed": counters.failed,
        "calls": counters.calls,
        "cpu_ns": counters.cpu_ns,
        "memory_bytes": counters.memory_bytes,
        "last_error": counters.last_error,
    })
}

/// Bindings as a table.
pub fn binding_listing(bindings: &[BindingInfo]) -> Listing {
    let mut table = Listing::new(&[
        "binding#",
        "topic",
        "hook",
        "plugin",
        "settings",
        "on error",
        "records#",
        "failed#",
        "ns/record#",
    ]);
    for binding in bindings {
        let counters = &binding.counters;
        let per_record = counters.cpu_ns.checked_div(counters.records);
        table.row([
            binding.id.to_string(),
            binding.topic.to_string(),
            binding.hook.to_string(),
            format!("{}@{}", binding.plugin, binding.version.short()),
            settings_text(binding),
            binding.on_error.to_string(),
            size::count(counters.records),
            size::count(counters.failed),
            per_record.map_or_else(|| "-".to_owned(), size::count),
        ]);
    }
    table
}

fn settings_text(binding: &BindingInfo) -> String {
    let settings = binding.config.iter();
    let settings = settings.map(|setting| format!("{}={}", setting.name, setting.value));
    let routes = binding.routes.iter().map(|route| {
        let partition = route.partition.map(|partition| format!(":{partition}"));
        format!(
            "{}→{}{}",
            route.value,
            route.topic,
            partition.unwrap_or_default()
        )
    });
    settings.chain(routes).collect::<Vec<_>>().join(" ")
}

/// All plugins.
pub fn print_plugins(format: Format, plugins: &[PluginInfo]) -> Result<(), Failure> {
    let mut table = Listing::new(&["plugin", "latest", "hooks", "versions#", "bindings#"]);
    for plugin in plugins {
        let latest = plugin.versions.last();
        table.row([
            plugin.name.to_string(),
            latest.map_or_else(|| "-".to_owned(), |latest| latest.version.short()),
            latest.map_or_else(|| "-".to_owned(), |latest| hooks_text(&latest.hooks)),
            plugin.versions.len().to_string(),
            size::count(plugin.bindings),
        ]);
    }
    let objects: Vec<_> = plugins.iter().map(plugin_json).collect();
    output::print_many(format, &objects, &table)
}

/// One plugin in detail.
pub fn print_plugin(format: Format, description: &PluginDescription) -> Result<(), Failure> {
    let plugin = &description.plugin;
    let mut versions = Listing::new(&["version", "hooks", "size#", "pushed"]);
    for version in plugin.versions.iter().rev() {
        versions.row([
            version.version.short(),
            hooks_text(&version.hooks),
            size::bytes(version.bytes),
            time::format(version.pushed),
        ]);
    }
    let mut text = format!("plugin  {}\n\n{}\n", plugin.name, versions.render(None));
    if !description.bindings.is_empty() {
        text.push('\n');
        text.push_str(&binding_listing(&description.bindings).render(None));
        text.push('\n');
    }
    let mut object = plugin_json(plugin);
    object["bindings"] = description.bindings.iter().map(binding_json).collect();
    output::print_one(format, &object, &text)
}

/// The version that a push made.
pub fn print_pushed(
    format: Format,
    name: &PluginName,
    pushed: &PluginPushed,
) -> Result<(), Failure> {
    let version = &pushed.version;
    let how = if pushed.known {
        "was there already"
    } else {
        "pushed"
    };
    let text = format!(
        "{name}@{} {how} ({}, hooks: {})",
        version.version.short(),
        size::bytes(version.bytes),
        hooks_text(&version.hooks),
    );
    let mut object = version_json(version);
    object["plugin"] = json!(name.to_string());
    object["known"] = json!(pushed.known);
    output::print_one(format, &object, &text)
}

/// The binding that a bind made.
pub fn print_bound(
    format: Format,
    binding: &BindingInfo,
    replaced: Option<BindingId>,
) -> Result<(), Failure> {
    let instead = replaced.map(|id| format!(", in place of binding {id}"));
    let text = format!(
        "binding {}: {}@{} is the {} of topic {:?}{}",
        binding.id,
        binding.plugin,
        binding.version.short(),
        binding.hook,
        binding.topic.to_string(),
        instead.unwrap_or_default(),
    );
    let mut object = binding_json(binding);
    object["replaced"] = json!(replaced.map(BindingId::value));
    output::print_one(format, &object, &text)
}

fn plugin_json(plugin: &PluginInfo) -> Value {
    let versions: Vec<_> = plugin.versions.iter().map(version_json).collect();
    json!({
        "plugin": plugin.name.to_string(),
        "versions": versions,
        "bindings": plugin.bindings,
    })
}

fn version_json(version: &PluginVersionInfo) -> Value {
    let hooks: Vec<_> = version.hooks.iter().map(|hook| hook.word()).collect();
    json!({
        "version": version.version.to_string(),
        "bytes": version.bytes,
        "hooks": hooks,
        "pushed": time::format(version.pushed),
    })
}

fn hooks_text(hooks: &[Hook]) -> String {
    let words: Vec<_> = hooks.iter().map(|hook| hook.word()).collect();
    words.join(", ")
}
