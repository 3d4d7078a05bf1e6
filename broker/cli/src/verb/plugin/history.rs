//! How a topic's bindings changed, as a result.

use serde_json::{Value, json};
use weir_wire::name::TopicName;
use weir_wire::request::{BindingEvent, TopicEnds};

use super::limits;
use super::show::{config_json, limits_json, routes_json, settings_text};
use crate::exit::Failure;
use crate::output::{self, Format, Listing};
use crate::time;

/// Ends that people see; JSON has them all.
const ENDS_SHOWN: usize = 8;

/// The events, the oldest first.
pub(super) fn print(
    format: Format,
    topic: &TopicName,
    events: &[BindingEvent],
) -> Result<(), Failure> {
    if events.is_empty() {
        output::note(&format!(
            "nothing was ever bound to topic \"{topic}\" (weir plugin bind)"
        ));
        return Ok(());
    }
    let mut table = Listing::new(&[
        "when", "what", "binding#", "hook", "place#", "plugin", "settings", "on error", "limits",
        "from",
    ]);
    for event in events {
        let what = match event.replaced {
            Some(replaced) => format!("{} {replaced}", event.action),
            None => event.action.to_string(),
        };
        let from = event.ends.iter().map(|at| ends_text(topic, at));
        table.row([
            time::format(event.time),
            what,
            event.binding.to_string(),
            event.hook.to_string(),
            event.position.to_string(),
            format!("{}@{}", event.plugin, event.version.short()),
            settings_text(&event.config, &event.routes),
            event.on_error.to_string(),
            limits::text(event.limits.as_ref()),
            from.collect::<Vec<_>>().join(" "),
        ]);
    }
    let objects: Vec<_> = events.iter().map(|event| json_of(topic, event)).collect();
    output::print_many(format, &objects, &table)
}

/// The first offset of each partition; the topic's own go without its name.
fn ends_text(topic: &TopicName, at: &TopicEnds) -> String {
    let shown = at.ends.iter().take(ENDS_SHOWN);
    let mut ends: Vec<String> = shown.map(ToString::to_string).collect();
    if at.ends.len() > ENDS_SHOWN {
        ends.push("…".to_owned());
    }
    let name = match &at.name {
        Some(name) if name == topic => String::new(),
        Some(name) => format!("{name}:"),
        None => format!("(deleted topic {}):", at.topic),
    };
    format!("{name}{}", ends.join(","))
}

fn json_of(topic: &TopicName, event: &BindingEvent) -> Value {
    let ends = event.ends.iter().map(|at| {
        let offsets: Vec<u64> = at.ends.iter().map(|end| end.value()).collect();
        json!({
            "topic": at.name.as_ref().map(ToString::to_string),
            "topic_id": at.topic.value(),
            "offsets": offsets,
        })
    });
    json!({
        "time": time::format(event.time),
        "topic": topic.to_string(),
        "epoch": event.epoch.value(),
        "action": event.action.word(),
        "binding": event.binding.value(),
        "replaced": event.replaced.map(|id| id.value()),
        "hook": event.hook.word(),
        "position": event.position,
        "plugin": event.plugin.to_string(),
        "version": event.version.to_string(),
        "config": config_json(&event.config),
        "routes": routes_json(&event.routes),
        "on_error": event.on_error.word(),
        "limits": event.limits.as_ref().map(limits_json),
        "from": ends.collect::<Vec<_>>(),
    })
}
