//! What a topic keeps, as it is typed and shown.

use std::time::Duration;

use serde_json::{Value, json};
use weir_wire::name::TopicName;
use weir_wire::request::{TopicSettings, UpdateTopic};
use weir_wire::topic::WhenUnread;

use crate::exit::Failure;
use crate::{size, time};

/// The word for a limit that is not there.
const NONE: &str = "none";

/// What a new topic keeps.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct SettingsArgs {
    /// Records older than this may go, as in 7d or 12h; `none` keeps them for ever
    #[arg(long, value_name = "TIME", value_parser = parse_age)]
    retention: Option<u64>,
    /// Of each partition the newest batches stay that have so many bytes together, as in 10GiB: of
    /// less than a batch nothing does; `none` is no limit
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    retention_bytes: Option<u64>,
    /// What happens to records that may go but that a group has not read
    #[arg(long, value_name = "keep|delete")]
    when_unread: Option<WhenUnread>,
    /// Keep the latest record of each key, whatever its age; older ones of the key may go
    #[arg(long)]
    compact: bool,
}

impl SettingsArgs {
    /// For the broker.
    pub fn settings(self) -> TopicSettings {
        TopicSettings {
            retention_ms: self.retention,
            retention_bytes: self.retention_bytes,
            when_unread: self.when_unread.unwrap_or_default(),
            compact: self.compact,
        }
    }
}

/// What a topic is to keep from now on; what is not given stays as it is.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct ChangeArgs {
    #[command(flatten)]
    settings: SettingsArgs,
    /// No longer compact: only retention removes records
    #[arg(long, conflicts_with = "compact")]
    no_compact: bool,
}

impl ChangeArgs {
    /// For the broker; refused if there is nothing to change.
    pub fn update(self, name: TopicName, partitions: Option<u32>) -> Result<UpdateTopic, Failure> {
        let Self {
            settings,
            no_compact,
        } = self;
        let update = UpdateTopic {
            name,
            retention_ms: settings.retention,
            retention_bytes: settings.retention_bytes,
            when_unread: settings.when_unread,
            compact: (settings.compact || no_compact).then_some(settings.compact),
            partitions,
        };
        let is_empty = update.retention_ms.is_none()
            && update.retention_bytes.is_none()
            && update.when_unread.is_none()
            && update.compact.is_none()
            && update.partitions.is_none();
        if is_empty {
            return Err(Failure::usage(
                "nothing to change; give --retention, --retention-bytes, --when-unread, \
                 --compact, --no-compact or --partitions",
            ));
        }
        Ok(update)
    }
}

/// Milliseconds; 0 for none.
fn parse_age(text: &str) -> Result<u64, String> {
    if text == NONE {
        return Ok(0);
    }
    let age = humantime::parse_duration(text).ok();
    let age = age.and_then(|age| u64::try_from(age.as_millis()).ok());
    match age {
        Some(0) => Err(nothing_kept()),
        Some(age) => Ok(age),
        None => Err("write a time such as 7d or 12h, or none".to_owned()),
    }
}

/// Bytes; 0 for none.
fn parse_size(text: &str) -> Result<u64, String> {
    if text == NONE {
        return Ok(0);
    }
    let size = size::parse_bytes(text).ok();
    match size {
        Some(0) => Err(nothing_kept()),
        Some(size) => Ok(size),
        None => Err("write a size such as 10GiB or 500MB, or none".to_owned()),
    }
}

fn nothing_kept() -> String {
    "0 would keep nothing and is refused; to keep everything write none, to remove what is there \
     use weir topic truncate"
        .to_owned()
}

/// Adds the settings to a topic for programs.
pub fn add_json(topic: &mut Value, settings: &TopicSettings) {
    topic["retention_ms"] = json!(settings.retention_ms);
    topic["retention_bytes"] = json!(settings.retention_bytes);
    topic["when_unread"] = json!(settings.when_unread.word());
    topic["compact"] = json!(settings.compact);
}

/// The settings for people, a line each.
pub fn text(settings: &TopicSettings) -> String {
    format!(
        "retention  {}\nunread     {}\ncompact    {}\n",
        retention_text(settings),
        settings.when_unread,
        if settings.compact { "yes" } else { "no" },
    )
}

/// The limits in words.
fn retention_text(settings: &TopicSettings) -> String {
    let age = settings.retention_ms.map(|age| {
        let age = time::format_duration(Duration::from_millis(age));
        format!("{age} old")
    });
    let bytes = settings.retention_bytes.map(|bytes| {
        let bytes = size::bytes(bytes);
        format!("{bytes} per partition")
    });
    match (age, bytes) {
        (None, None) => "none, everything stays".to_owned(),
        (Some(one), None) | (None, Some(one)) => format!("at most {one}"),
        (Some(age), Some(bytes)) => format!("at most {age}, at most {bytes}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(retention_ms: Option<u64>, retention_bytes: Option<u64>) -> TopicSettings {
        TopicSettings {
            retention_ms,
            retention_bytes,
            ..TopicSettings::default()
        }
    }

    #[test]
    fn limits_as_people_write_them() {
        assert_eq!(parse_age("7d"), Ok(7 * 86_400_000));
        assert_eq!(parse_age("none"), Ok(0));
        assert_eq!(parse_size("10GiB"), Ok(10 << 30));
        assert_eq!(parse_size("none"), Ok(0));
        for text in ["", "0s", "soon", "-1d"] {
            assert!(parse_age(text).is_err(), "{text}");
        }
        for text in ["", "0", "much"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn limits_in_words() {
        for (age, bytes, text) in [
            (None, None, "none, everything stays"),
            (Some(7 * 86_400_000), None, "at most 7d old"),
            (None, Some(10 << 30), "at most 10.0 GiB per partition"),
            (
                Some(90_000),
                Some(1024),
                "at most 1m 30s old, at most 1.0 KiB per partition",
            ),
        ] {
            assert_eq!(retention_text(&settings(age, bytes)), text);
        }
    }
}
