//! The messages about how bindings change and how they are: limits, history, rollback, logs.

use crate::id::{
    BindingEpoch, BindingId, Offset, PluginVersion, SubscriptionId, Timestamp, TopicId,
};
use crate::limits::{
    BINDING_CPU_MAX, BINDING_LOG_RATE_MAX, BINDING_MEMORY_MAX, BINDING_MEMORY_MIN,
    BINDING_OUTPUT_MAX,
};
use crate::message;
use crate::name::{PluginName, TopicName};
use crate::plugin::{BindingAction, ErrorPolicy, Hook};

use super::{Bind, BindingCounters, PluginVersionInfo, Route, Setting};

message! {
    /// What a binding's calls may cost; what is absent is as the broker is configured.
    #[derive(Default)]
    pub struct BindingLimits {
        /// CPU time of a call, in milliseconds.
        1 => cpu_ms: Option<u64>,
        /// Memory of an instance, in bytes.
        2 => memory_bytes: Option<u64>,
        /// Bytes that a call may return.
        3 => output_bytes: Option<u64>,
        /// Lines that it may log in a second.
        4 => log_lines_per_second: Option<u64>,
    }

    /// Bind again what the plugin's binding on that topic took the place of. Twice is back again.
    pub struct Rollback {
        /// The plugin.
        1 => plugin: PluginName,
        /// The topic.
        2 => topic: TopicName,
        /// The hook, where the plugin is bound to several.
        3 => hook: Option<Hook>,
    }

    /// How did a topic's bindings change?
    pub struct DescribeHistory {
        /// The topic.
        1 => topic: TopicName,
    }

    /// The changes of a topic's bindings, as far as they are remembered.
    pub struct History {
        /// The oldest first.
        1 => events: Vec<BindingEvent>,
    }

    /// A change of a topic's bindings.
    pub struct BindingEvent {
        /// When; 0 if that was before brokers wrote it down.
        1 => time: Timestamp,
        /// The epoch that the topic's bindings have since.
        2 => epoch: BindingEpoch,
        /// What happened.
        3 => action: BindingAction,
        /// The binding that was made, or ended.
        4 => binding: BindingId,
        /// Its hook.
        5 => hook: Hook,
        /// Its plugin.
        6 => plugin: PluginName,
        /// The version.
        7 => version: PluginVersion,
        /// The plugin's settings.
        8 => config: Vec<Setting>,
        /// The declared routes; those to topics that are gone are left out.
        9 => routes: Vec<Route>,
        /// What happens to a record whose hook failed.
        10 => on_error: ErrorPolicy,
        /// Its place in the chain of its hook, from 0.
        11 => position: u32,
        /// What its calls may cost, where that was said.
        12 => limits: Option<BindingLimits>,
        /// The binding that it took the place of.
        13 => replaced: Option<BindingId>,
        /// The first offsets behind the change, of the topic itself and of those that records are
        /// routed to. Topics whose partitions are too many to be listed are left out.
        14 => ends: Vec<TopicEnds>,
    }

    /// Where the partitions of a topic ended.
    pub struct TopicEnds {
        /// The topic's id.
        1 => topic: TopicId,
        /// Its name; absent if it is gone.
        2 => name: Option<TopicName>,
        /// The offset of the next record of each partition, in order.
        3 => ends: Vec<Offset>,
    }

    /// Try a binding again that rests after grave failures.
    pub struct Unquarantine {
        /// The binding.
        1 => binding: BindingId,
    }

    /// Why a binding rests.
    pub struct Quarantine {
        /// What it failed of.
        1 => reason: String,
        /// Since when.
        2 => since: Timestamp,
        /// When it is tried again.
        3 => until: Timestamp,
        /// How often it has rested since the broker started.
        4 => times: u64,
    }

    /// What has a plugin logged?
    pub struct PluginLogs {
        /// The plugin.
        1 => plugin: PluginName,
        /// What is known already, of 10,000 at most; lines of others come from the oldest that is
        /// kept.
        2 => after: Vec<LogCursor>,
        /// How long to wait for a line if there is none, in milliseconds; at most 10 s.
        3 => wait_ms: u64,
    }

    /// How far the lines of a binding are known, or of a filter or projection of a subscription.
    pub struct LogCursor {
        /// The binding; 0 if it is none.
        1 => binding: BindingId,
        /// The last line's number; one that the binding has not reached, as after a restart of
        /// the broker, counts as 0.
        2 => number: u64,
        /// The subscription, if it is one's.
        3 => subscription: Option<SubscriptionId>,
        /// The place among the filters and projections of the subscription.
        4 => position: u32,
    }

    /// Lines of a plugin's log.
    pub struct PluginLogLines {
        /// Those of one binding, or of one plugin of a subscription, in their order.
        1 => lines: Vec<LogLine>,
    }

    /// A line of a plugin's log.
    pub struct LogLine {
        /// The binding; 0 if it is none.
        1 => binding: BindingId,
        /// Its topic; of a subscription the first that it names.
        2 => topic: TopicName,
        /// Its hook.
        3 => hook: Hook,
        /// The version that logged it.
        4 => version: PluginVersion,
        /// Counts the lines of the one that logs, from 1; a gap means that lines were forgotten.
        5 => number: u64,
        /// 0 debug, 1 info, 2 warn, 3 error.
        6 => level: u32,
        /// The text, on one line, with characters that act on a terminal spelled out.
        7 => message: String,
        /// The subscription whose filter or projection logged it, if that was no binding.
        8 => subscription: Option<SubscriptionId>,
        /// The place among the filters and projections of the subscription.
        9 => position: u32,
    }

    /// A filter or projection of a subscription.
    pub struct SubscriptionPlugin {
        /// The subscription.
        1 => subscription: SubscriptionId,
        /// Its place: the filters from 0, in their order, then the projections.
        2 => position: u32,
        /// Its hook.
        3 => hook: Hook,
        /// The plugin's version.
        4 => version: PluginVersion,
        /// The first topic that the subscription names.
        5 => topic: TopicName,
        /// How many topics it names.
        6 => topics: u32,
        /// The plugin's settings, in the order of their names.
        7 => config: Vec<Setting>,
        /// What happens to a record whose hook failed.
        8 => on_error: ErrorPolicy,
        /// What its calls may cost, where that was said.
        9 => limits: Option<BindingLimits>,
        /// What it has done since the subscription began.
        10 => counters: BindingCounters,
    }

    /// Send the component of a plugin's version.
    pub struct FetchPlugin {
        /// The plugin.
        1 => name: PluginName,
        /// The version, or the first digits of it; the latest without.
        2 => version: Option<String>,
    }

    /// The component (payload).
    pub struct PluginFetched {
        /// Its version.
        1 => version: PluginVersionInfo,
    }
}

/// A limit that no binding can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} of a binding is limited to {least} to {most}, not {asked}")]
pub struct LimitOutOfRange {
    what: &'static str,
    least: u64,
    most: u64,
    asked: u64,
}

impl Bind {
    /// A binding of the latest version, without settings, at the end of its chain or in the place
    /// of the plugin's one binding there: a start for struct update syntax.
    #[must_use]
    pub const fn new(plugin: PluginName, topic: TopicName, hook: Hook) -> Self {
        Self {
            plugin,
            version: None,
            topic,
            hook,
            config: Vec::new(),
            routes: Vec::new(),
            on_error: None,
            position: None,
            replace: None,
            limits: None,
        }
    }
}

impl BindingLimits {
    /// Checks that each limit is one that a binding can have.
    ///
    /// # Errors
    /// Names the first that is not.
    pub fn check(&self) -> Result<(), LimitOutOfRange> {
        let cpu_ms_max = BINDING_CPU_MAX.as_millis() as u64;
        let log_rate = self.log_lines_per_second;
        [
            ("CPU time (ms)", self.cpu_ms, 1, cpu_ms_max),
            (
                "memory (bytes)",
                self.memory_bytes,
                BINDING_MEMORY_MIN,
                BINDING_MEMORY_MAX,
            ),
            ("output (bytes)", self.output_bytes, 1, BINDING_OUTPUT_MAX),
            ("log rate (lines/s)", log_rate, 0, BINDING_LOG_RATE_MAX),
        ]
        .into_iter()
        .try_for_each(|(what, asked, least, most)| match asked {
            Some(asked) if !(least..=most).contains(&asked) => Err(LimitOutOfRange {
                what,
                least,
                most,
                asked,
            }),
            _ => Ok(()),
        })
    }
}
