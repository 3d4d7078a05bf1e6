//! The filters and projections of subscriptions as results.

use serde_json::{Value, json};
use weir_wire::id::SubscriptionId;
use weir_wire::request::{PluginDescription, SubscriptionPlugin};

use super::limits;
use super::show::{
    config_json, left_out, limits_json, per_record, settings_text, state, trouble, with_counters,
};
use crate::output::Listing;
use crate::record::Shown;
use crate::size;

/// One of them as an object.
pub(super) fn json(plugin: &SubscriptionPlugin) -> Value {
    let object = json!({
        "subscription": plugin.subscription.value(),
        "position": plugin.position,
        "topic": plugin.topic.to_string(),
        "topics": plugin.topics,
        "hook": plugin.hook.word(),
        "version": plugin.version.to_string(),
        "config": config_json(&plugin.config),
        "on_error": plugin.on_error.word(),
        "limits": plugin.limits.as_ref().map(limits_json),
    });
    with_counters(object, &plugin.counters)
}

/// What people see of those that use a plugin, behind its bindings.
pub(super) fn text(description: &PluginDescription) -> String {
    let plugins = &description.subscriptions;
    if plugins.is_empty() {
        return String::new();
    }
    let mut text = format!("\n{}\n", listing(plugins).render(None));
    let more = description.subscriptions_unlisted;
    if more > 0 {
        let more = size::count(more);
        text.push_str(&format!(
            "and {more} more; those with troubles come first\n"
        ));
    }
    for plugin in plugins {
        let trouble = trouble(&plugin.counters, "");
        let trouble = trouble.map(|trouble| format!("{} {trouble}", who(plugin)));
        for line in trouble.into_iter().chain(suppressed(plugin)) {
            text.push_str(&format!("{line}\n"));
        }
    }
    text
}

fn listing(plugins: &[SubscriptionPlugin]) -> Listing {
    let mut table = Listing::new(&[
        "subscription#",
        "place#",
        "topic",
        "hook",
        "version",
        "settings",
        "on error",
        "calls#",
        "records#",
        "out#",
        "failed#",
        "ns/record#",
        "state",
    ]);
    for plugin in plugins {
        let counters = &plugin.counters;
        table.row([
            plugin.subscription.to_string(),
            plugin.position.to_string(),
            topics(plugin),
            plugin.hook.to_string(),
            plugin.version.short(),
            settings(plugin),
            plugin.on_error.to_string(),
            size::count(counters.calls),
            size::count(counters.records),
            size::count(counters.records_out),
            size::count(counters.failed),
            per_record(counters),
            state(counters).to_owned(),
        ]);
    }
    table
}

fn topics(plugin: &SubscriptionPlugin) -> String {
    match plugin.topics.saturating_sub(1) {
        0 => plugin.topic.to_string(),
        more => format!("{} and {more} more", plugin.topic),
    }
}

/// Settings and limits, as they are typed.
fn settings(plugin: &SubscriptionPlugin) -> String {
    let settings = settings_text(&plugin.config, &[]);
    let limits = limits::text(plugin.limits.as_ref());
    let text = format!("{settings} {limits}");
    Shown(text.trim().as_bytes()).to_string()
}

/// What is said of one that logs too much.
pub(super) fn suppressed(plugin: &SubscriptionPlugin) -> Option<String> {
    left_out(&who(plugin), plugin.counters.log_lines_suppressed)
}

fn who(plugin: &SubscriptionPlugin) -> String {
    name(plugin.subscription, plugin.position)
}

/// What the plugin at a place of a subscription is called.
pub(super) fn name(subscription: SubscriptionId, position: u32) -> String {
    format!("subscription {subscription} at place {position}")
}
