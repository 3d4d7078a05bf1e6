//! Records that a plugin failed on, in the dead-letter topic: the record as the plugin got it,
//! with headers that say what became of it.

use crate::batch::RecordView;
use crate::id::{BindingId, Offset, PartitionId, PluginVersion};
use crate::name::{PluginName, TopicName};
use crate::plugin::Hook;

/// The topic that the record was sent to, or read from.
pub const TOPIC: &str = "weir-dlq-topic";
/// The plugin that failed on it.
pub const PLUGIN: &str = "weir-dlq-plugin";
/// The plugin's version, in hex digits.
pub const VERSION: &str = "weir-dlq-version";
/// The hook.
pub const HOOK: &str = "weir-dlq-hook";
/// The binding's number; absent where a subscription named the plugin.
pub const BINDING: &str = "weir-dlq-binding";
/// What the plugin said, or what stopped it.
pub const MESSAGE: &str = "weir-dlq-message";
/// The functions of the plugin that were running, the innermost first; absent if that is not
/// known.
pub const BACKTRACE: &str = "weir-dlq-backtrace";
/// On delivery: the partition that the record was read from.
pub const PARTITION: &str = "weir-dlq-partition";
/// On delivery: the record's offset there.
pub const OFFSET: &str = "weir-dlq-offset";

/// Why a record is in the dead-letter topic.
#[derive(Clone, Copy, Debug)]
pub struct DeadLetter<'a> {
    /// The topic that it was sent to, or read from.
    pub topic: &'a TopicName,
    /// The plugin.
    pub plugin: &'a PluginName,
    /// Its version.
    pub version: PluginVersion,
    /// The hook.
    pub hook: Hook,
    /// The binding, if the plugin is bound to the topic.
    pub binding: Option<BindingId>,
    /// What the plugin said, or what stopped it.
    pub message: &'a str,
    /// The functions that were running.
    pub backtrace: Option<&'a str>,
    /// Where the record was read from.
    pub read_from: Option<(PartitionId, Offset)>,
}

impl DeadLetter<'_> {
    /// The record with these headers behind its own, for [`BatchBuilder::push_body`].
    ///
    /// [`BatchBuilder::push_body`]: crate::batch::BatchBuilder::push_body
    #[must_use]
    pub fn body(&self, record: &RecordView<'_>) -> Vec<u8> {
        let owned = |name, text: String| (name, text);
        let mut headers = vec![
            owned(TOPIC, self.topic.to_string()),
            owned(PLUGIN, self.plugin.to_string()),
            owned(VERSION, self.version.to_string()),
            owned(HOOK, self.hook.to_string()),
        ];
        headers.extend(self.binding.map(|id| owned(BINDING, id.to_string())));
        headers.push(owned(MESSAGE, self.message.to_owned()));
        let backtrace = self.backtrace.map(str::to_owned);
        headers.extend(backtrace.map(|text| owned(BACKTRACE, text)));
        if let Some((partition, offset)) = self.read_from {
            headers.push(owned(PARTITION, partition.to_string()));
            headers.push(owned(OFFSET, offset.to_string()));
        }
        let headers: Vec<(&str, &[u8])> = headers
            .iter()
            .map(|(name, text)| (*name, text.as_bytes()))
            .collect();
        record.body_with_headers(&headers)
    }
}
