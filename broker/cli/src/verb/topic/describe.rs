//! A topic in detail: what it keeps, its partitions, fences, groups and bindings.

use serde_json::{Value, json};
use weir_wire::id::Timestamp;
use weir_wire::request::{Fence, GroupInfo, PartitionInfo, TopicDescription};

use super::{placement, settings, topic_json};
use crate::output::Listing;
use crate::verb::plugin::{binding_json, binding_listing};
use crate::{size, time};

/// Ends of a fence that people see; JSON has them all.
const ENDS_SHOWN: usize = 8;

/// For programs.
pub fn json(description: &TopicDescription) -> Value {
    let mut object = topic_json(&description.topic);
    settings::add_json(&mut object, &description.settings);
    object["oldest"] = json!(oldest(description).map(time::format));
    // In detail, `partitions` is the list; its length is the number.
    object["partitions"] = description.partitions.iter().map(partition_json).collect();
    object["fences"] = description.fences.iter().map(fence_json).collect();
    object["groups"] = description.groups.iter().map(group_json).collect();
    object["bindings"] = description.bindings.iter().map(binding_json).collect();
    object
}

/// When the oldest batch of any partition was appended.
fn oldest(description: &TopicDescription) -> Option<Timestamp> {
    let partitions = description.partitions.iter();
    partitions.filter_map(|partition| partition.oldest).min()
}

fn partition_json(partition: &PartitionInfo) -> Value {
    json!({
        "partition": partition.partition.value(),
        "start": partition.start.value(),
        "end": partition.end.value(),
        "records": partition.records,
        "bytes": partition.bytes,
        "oldest": partition.oldest.map(time::format),
        "newest": partition.newest.map(time::format),
    })
}

fn fence_json(fence: &Fence) -> Value {
    let ends: Vec<u64> = fence.ends.iter().map(|end| end.value()).collect();
    json!({
        "time": time::format(fence.time),
        "partitions": fence.partitions,
        "ends": ends,
    })
}

fn group_json(group: &GroupInfo) -> Value {
    json!({
        "group": group.group.to_string(),
        "lag": group.lag,
        "expired_unread": group.expired_unread,
    })
}

/// For people.
pub fn text(description: &TopicDescription) -> String {
    let topic = &description.topic;
    let moment = |time: Option<Timestamp>| time.map_or_else(|| "-".to_owned(), time::format);
    let mut text = format!(
        "topic      {}\nmade       {}\nrecords    {}\nsize       {}\noldest     {}\n\
         placement  by {}\n{}",
        topic.name,
        time::format(topic.created),
        size::count(topic.records),
        size::bytes(topic.bytes),
        moment(oldest(description)),
        placement(topic),
        settings::text(&description.settings),
    );
    let mut partitions = Listing::new(&[
        "partition#",
        "start#",
        "end#",
        "records#",
        "size#",
        "oldest",
    ]);
    for partition in &description.partitions {
        partitions.row([
            partition.partition.to_string(),
            partition.start.to_string(),
            partition.end.to_string(),
            size::count(partition.records),
            size::bytes(partition.bytes),
            moment(partition.oldest),
        ]);
    }
    let mut section = |listing: &Listing| {
        text.push('\n');
        text.push_str(&listing.render(None));
        text.push('\n');
    };
    section(&partitions);
    if !description.fences.is_empty() {
        section(&fences(&description.fences));
    }
    if !description.groups.is_empty() {
        section(&groups(&description.groups));
    }
    if !description.bindings.is_empty() {
        section(&binding_listing(&description.bindings));
    }
    text
}

fn fences(fences: &[Fence]) -> Listing {
    let mut listing = Listing::new(&["partitions before#", "until", "that ended at"]);
    for fence in fences {
        let shown = fence.ends.iter().take(ENDS_SHOWN);
        let mut ends: Vec<String> = shown.map(ToString::to_string).collect();
        if fence.ends.len() > ENDS_SHOWN {
            ends.push("…".to_owned());
        }
        listing.row([
            fence.partitions.to_string(),
            time::format(fence.time),
            ends.join(", "),
        ]);
    }
    listing
}

fn groups(groups: &[GroupInfo]) -> Listing {
    let mut listing = Listing::new(&["group", "not read yet#", "expired unread#"]);
    for group in groups {
        listing.row([
            group.group.to_string(),
            size::count(group.lag),
            size::count(group.expired_unread),
        ]);
    }
    listing
}
