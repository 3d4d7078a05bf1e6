//! Plugins and bindings as results.

use serde_json::{Map, Value, json};
use weir_wire::id::BindingId;
use weir_wire::name::PluginName;
use weir_wire::plugin::Hook;
use weir_wire::request::{
    BindingCounters, BindingInfo, BindingLimits, PluginDescription, PluginInfo, PluginPushed,
    PluginVersionInfo, Quarantine, Route, Setting,
};

use super::{limits, subscriptions};
use crate::exit::Failure;
use crate::output::{self, Format, Listing};
use crate::record::Shown;
use crate::{size, time};

/// A binding as an object.
pub fn binding_json(binding: &BindingInfo) -> Value {
    let dead_letters = binding.dead_letters.as_ref();
    let binding_itself = json!({
        "binding": binding.id.value(),
        "topic": binding.topic.to_string(),
        "hook": binding.hook.word(),
        "position": binding.position,
        "plugin": binding.plugin.to_string(),
        "version": binding.version.to_string(),
        "config": config_json(&binding.config),
        "routes": routes_json(&binding.routes),
        "on_error": binding.on_error.word(),
        "dead_letters": dead_letters.map(ToString::to_string),
        "limits": binding.limits.as_ref().map(limits_json),
        "bound": time::format(binding.time),
    });
    with_counters(binding_itself, &binding.counters)
}

/// The object of what counts, with what it has counted.
pub(super) fn with_counters(mut object: Value, counters: &BindingCounters) -> Value {
    let counted = json!({
        "records": counters.records,
        "records_out": counters.records_out,
        "failed": counters.failed,
        "calls": counters.calls,
        "traps": counters.traps,
        "limits_reached": counters.limits,
        "cpu_ns": counters.cpu_ns,
        "memory_bytes": counters.memory_bytes,
        "impure": counters.impure,
        "log_lines_suppressed": counters.log_lines_suppressed,
        "quarantine": counters.quarantine.as_ref().map(quarantine_json),
        "last_error": counters.last_error,
    });
    if let (Value::Object(object), Value::Object(counted)) = (&mut object, counted) {
        object.extend(counted);
    }
    object
}

pub(super) fn config_json(config: &[Setting]) -> Map<String, Value> {
    let settings = config.iter();
    settings
        .map(|setting| (setting.name.clone(), json!(setting.value)))
        .collect()
}

pub(super) fn routes_json(routes: &[Route]) -> Vec<Value> {
    let routes = routes.iter().map(|route| {
        json!({
            "value": route.value,
            "topic": route.topic.to_string(),
            "partition": route.partition.map(|partition| partition.value()),
        })
    });
    routes.collect()
}

pub(super) fn limits_json(limits: &BindingLimits) -> Value {
    json!({
        "cpu_ms": limits.cpu_ms,
        "memory_bytes": limits.memory_bytes,
        "output_bytes": limits.output_bytes,
        "log_lines_per_second": limits.log_lines_per_second,
    })
}

fn quarantine_json(quarantine: &Quarantine) -> Value {
    json!({
        "reason": quarantine.reason,
        "since": time::format(quarantine.since),
        "until": time::format(quarantine.until),
        "times": quarantine.times,
    })
}

/// Bindings as a table.
pub fn binding_listing(bindings: &[BindingInfo]) -> Listing {
    // In the status of a broker they have none.
    let has_settings = |b: &BindingInfo| !b.config.is_empty() || !b.routes.is_empty();
    let settings = bindings.iter().any(has_settings);
    let limits = bindings.iter().any(|binding| binding.limits.is_some());
    let before = ["binding#", "topic", "hook", "place#", "plugin"];
    let after = ["on error", "records#", "failed#", "ns/record#", "state"];
    let columns = [
        &before[..],
        if settings { &["settings"] } else { &[] },
        &after,
        if limits { &["limits"] } else { &[] },
    ]
    .concat();
    let mut table = Listing::new(&columns);
    for binding in bindings {
        let counters = &binding.counters;
        let before = [
            binding.id.to_string(),
            binding.topic.to_string(),
            binding.hook.to_string(),
            binding.position.to_string(),
            format!("{}@{}", binding.plugin, binding.version.short()),
        ];
        let settings = settings.then(|| settings_text(&binding.config, &binding.routes));
        let after = [
            binding.on_error.to_string(),
            size::count(counters.records),
            size::count(counters.failed),
            per_record(counters),
            state(counters).to_owned(),
        ];
        let limits = limits.then(|| limits::text(binding.limits.as_ref()));
        let cells = before.into_iter().chain(settings).chain(after);
        table.row(cells.chain(limits));
    }
    table
}

/// Nanoseconds of processor time.
pub(super) fn per_record(counters: &BindingCounters) -> String {
    let per_record = counters.cpu_ns.checked_div(counters.records);
    per_record.map_or_else(|| "-".to_owned(), size::count)
}

pub(super) const fn state(counters: &BindingCounters) -> &'static str {
    match (&counters.quarantine, counters.impure) {
        (Some(_), _) => "quarantined",
        (None, true) => "impure",
        (None, false) => "ok",
    }
}

/// What rests and why, and what failed last, a line for each.
fn troubles(bindings: &[BindingInfo]) -> String {
    let mut text = String::new();
    for binding in bindings {
        let hint = format!(" (weir plugin unquarantine {})", binding.id);
        let trouble = trouble(&binding.counters, &hint);
        let trouble = trouble.map(|trouble| format!("binding {} {trouble}", binding.id));
        for line in trouble.into_iter().chain(suppressed(binding)) {
            text.push_str(&format!("{line}\n"));
        }
    }
    text
}

/// What is wrong: why it rests, and what to do then; or what failed last.
pub(super) fn trouble(counters: &BindingCounters, hint: &str) -> Option<String> {
    if let Some(quarantine) = &counters.quarantine {
        let until = time::format(quarantine.until);
        let reason = Shown(quarantine.reason.as_bytes());
        return Some(format!("is quarantined until {until}{hint}: {reason}"));
    }
    let error = counters.last_error.as_ref()?;
    Some(format!("failed last with: {}", Shown(error.as_bytes())))
}

/// What is said of a binding that logs too much.
pub(super) fn suppressed(binding: &BindingInfo) -> Option<String> {
    let who = format!("binding {}", binding.id);
    left_out(&who, binding.counters.log_lines_suppressed)
}

/// What is said where lines were left out.
pub(super) fn left_out(who: &str, lines: u64) -> Option<String> {
    let count = size::count(lines);
    let text = "log lines were left out, since it logs more than it may (--log-rate)";
    (lines > 0).then(|| format!("{who}: {count} {text}"))
}

/// Settings and routes for people; whoever binds may write anything into them.
pub(super) fn settings_text(config: &[Setting], routes: &[Route]) -> String {
    let settings = config.iter();
    let settings = settings.map(|setting| format!("{}={}", setting.name, setting.value));
    let routes = routes.iter().map(|route| {
        let partition = route.partition.map(|partition| format!(":{partition}"));
        format!(
            "{}→{}{}",
            route.value,
            route.topic,
            partition.unwrap_or_default()
        )
    });
    let text = settings.chain(routes).collect::<Vec<_>>().join(" ");
    Shown(text.as_bytes()).to_string()
}

/// All plugins.
pub fn print_plugins(format: Format, plugins: &[PluginInfo]) -> Result<(), Failure> {
    let mut table = Listing::new(&["plugin", "latest", "hooks", "versions#", "bindings#"]);
    for plugin in plugins {
        let latest = plugin.versions.last();
        table.row([
            plugin.name.to_string(),
            latest.map_or_else(|| "-".to_owned(), |latest| latest.version.short()),
            latest.map_or_else(|| "-".to_owned(), |latest| Hook::words(&latest.hooks)),
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
            Hook::words(&version.hooks),
            size::bytes(version.bytes),
            time::format(version.pushed),
        ]);
    }
    let mut text = format!("plugin  {}\n\n{}\n", plugin.name, versions.render(None));
    if !description.bindings.is_empty() {
        text.push('\n');
        text.push_str(&binding_listing(&description.bindings).render(None));
        text.push('\n');
        text.push_str(&troubles(&description.bindings));
    }
    text.push_str(&subscriptions::text(description));
    let mut object = plugin_json(plugin);
    object["bindings"] = description.bindings.iter().map(binding_json).collect();
    let used = description.subscriptions.iter();
    object["subscriptions"] = used.map(subscriptions::json).collect();
    object["subscriptions_unlisted"] = json!(description.subscriptions_unlisted);
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
        Hook::words(&version.hooks),
    );
    let mut object = version_json(version);
    object["plugin"] = json!(name.to_string());
    object["known"] = json!(pushed.known);
    output::print_one(format, &object, &text)
}

/// The binding that a bind made, and what is different from the one whose place it took.
pub fn print_bound(
    format: Format,
    binding: &BindingInfo,
    replaced: Option<BindingId>,
    old: Option<&BindingInfo>,
) -> Result<(), Failure> {
    let instead = replaced.map(|id| format!(", in place of binding {id}"));
    let changes = old.map(|old| changes(old, binding)).unwrap_or_default();
    let mut text = format!(
        "binding {}: {}@{} is the {} of topic {:?}{}",
        binding.id,
        binding.plugin,
        binding.version.short(),
        binding.hook,
        binding.topic.to_string(),
        instead.unwrap_or_default(),
    );
    for change in &changes {
        text.push_str(&format!("\n  {change}"));
    }
    let mut object = binding_json(binding);
    object["changes"] = json!(changes);
    object["replaced"] = json!(replaced.map(BindingId::value));
    output::print_one(format, &object, &text)
}

/// What a binding does differently from the one before it, a line each.
fn changes(old: &BindingInfo, new: &BindingInfo) -> Vec<String> {
    let or = |text: String, nothing: &str| {
        if text.is_empty() {
            nothing.to_owned()
        } else {
            text
        }
    };
    let settings = |binding: &BindingInfo| {
        let text = settings_text(&binding.config, &binding.routes);
        or(text, "none")
    };
    let limits = |binding: &BindingInfo| {
        let text = limits::text(binding.limits.as_ref());
        or(text, "the broker's own")
    };
    let policy = |binding: &BindingInfo| binding.on_error.to_string();
    let pairs = [
        ("version", old.version.short(), new.version.short()),
        ("settings", settings(old), settings(new)),
        ("on-error", policy(old), policy(new)),
        ("limits", limits(old), limits(new)),
    ];
    let different = pairs.into_iter().filter(|(_, old, new)| old != new);
    different
        .map(|(what, old, new)| format!("{what}: {old} → {new}"))
        .collect()
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
