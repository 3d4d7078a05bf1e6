//! Changes of the catalog as they stand in the log: one message, one field per kind of change.

use weir_wire::id::{
    BindingEpoch, BindingId, Offset, PartitionId, PluginVersion, ProducerEpoch, ProducerId,
    Timestamp, TopicId,
};
use weir_wire::message;
use weir_wire::name::{GroupName, PluginName, TopicName};
use weir_wire::plugin::{BindingAction, ErrorPolicy, Hook};
use weir_wire::request::{BindingLimits, Setting, TopicSettings};

message! {
    /// A change of the catalog; one field is set, or both that one request may change.
    pub struct Change {
        /// A topic was made.
        1 => topic_created: Option<TopicCreated>,
        /// A topic was removed.
        2 => topic_deleted: Option<TopicDeleted>,
        /// A version of a plugin was pushed.
        3 => plugin_pushed: Option<PluginPushed>,
        /// A version of a plugin was removed.
        4 => plugin_removed: Option<PluginRemoved>,
        /// A plugin was bound to a hook.
        5 => bound: Option<Bound>,
        /// A binding was ended.
        6 => unbound: Option<Unbound>,
        /// A producer session was opened.
        7 => producer_opened: Option<ProducerOpened>,
        /// A topic has other settings.
        8 => topic_updated: Option<TopicUpdated>,
        /// A topic has more partitions.
        9 => partitions_added: Option<PartitionsAdded>,
        /// A group stands elsewhere.
        10 => cursor_set: Option<CursorSet>,
        /// Records went before groups had read them.
        11 => expired: Option<Expired>,
    }

    /// A topic was made.
    pub struct TopicCreated {
        /// Its id.
        1 => id: TopicId,
        /// Its name.
        2 => name: TopicName,
        /// How many partitions.
        3 => partitions: u32,
        /// When.
        4 => time: Timestamp,
        /// What it keeps; everything for ever without.
        5 => settings: Option<TopicSettings>,
    }

    /// A topic was removed.
    pub struct TopicDeleted {
        /// The topic.
        1 => id: TopicId,
    }

    /// A version of a plugin was pushed.
    pub struct PluginPushed {
        /// The plugin.
        1 => name: PluginName,
        /// Its version.
        2 => version: PluginVersion,
        /// Bytes of the component.
        3 => bytes: u64,
        /// The hooks it exports.
        4 => hooks: Vec<Hook>,
        /// When.
        5 => time: Timestamp,
    }

    /// A version of a plugin was removed.
    pub struct PluginRemoved {
        /// The plugin.
        1 => name: PluginName,
        /// Its version.
        2 => version: PluginVersion,
    }

    /// A plugin was bound to a hook.
    pub struct Bound {
        /// The binding's id.
        1 => id: BindingId,
        /// The topic's binding epoch from here on.
        2 => epoch: BindingEpoch,
        /// The topic.
        3 => topic: TopicId,
        /// The hook.
        4 => hook: Hook,
        /// The plugin.
        5 => plugin: PluginName,
        /// Its version.
        6 => version: PluginVersion,
        /// Its settings.
        7 => config: Vec<Setting>,
        /// Where each declared value leads.
        8 => routes: Vec<RouteTarget>,
        /// What happens to a record whose hook failed.
        9 => on_error: ErrorPolicy,
        /// Its place in the hook's chain, from 0. Without one it is from before there were
        /// chains, and is the only one.
        10 => position: Option<u32>,
        /// The binding that it takes the place of.
        11 => replaces: Option<BindingId>,
        /// What its calls may cost, where that was said.
        12 => limits: Option<BindingLimits>,
        /// When it was made.
        13 => time: Timestamp,
        /// What its topic's records go by from where on.
        14 => ends: Vec<TopicEnds>,
        /// Where records go that its policy dead-letters.
        15 => dead_letters: Option<TopicId>,
        /// Whether it brings back what it was before.
        16 => rolled_back: bool,
    }

    /// Where the partitions of a topic ended.
    pub struct TopicEnds {
        /// The topic.
        1 => topic: TopicId,
        /// The offset of each partition's next record, in order.
        2 => ends: Vec<Offset>,
    }

    /// A change of a topic's bindings, for its history.
    pub struct BindingEvent {
        /// When.
        1 => time: Timestamp,
        /// The topic's binding epoch from there on.
        2 => epoch: BindingEpoch,
        /// What happened.
        3 => action: BindingAction,
        /// The binding that was made or ended, at its place in the chain.
        4 => bound: Bound,
        /// What it took the place of.
        5 => replaced: Option<Bound>,
        /// Where partitions ended.
        6 => ends: Vec<TopicEnds>,
    }

    /// Where a declared value leads.
    pub struct RouteTarget {
        /// The value.
        1 => value: String,
        /// The topic.
        2 => topic: TopicId,
        /// The partition, if it is fixed.
        3 => partition: Option<PartitionId>,
    }

    /// A binding was ended.
    pub struct Unbound {
        /// The binding.
        1 => id: BindingId,
        /// The topic's binding epoch from here on.
        2 => epoch: BindingEpoch,
        /// When.
        3 => time: Timestamp,
        /// Where partitions ended.
        4 => ends: Vec<TopicEnds>,
    }

    /// A producer session was opened.
    pub struct ProducerOpened {
        /// The producer.
        1 => id: ProducerId,
        /// Its epoch.
        2 => epoch: ProducerEpoch,
        /// The topic it addresses.
        3 => topic: TopicId,
    }

    /// A topic has other settings.
    pub struct TopicUpdated {
        /// The topic.
        1 => id: TopicId,
        /// All of them.
        2 => settings: TopicSettings,
    }

    /// A topic has more partitions: the fence between what went by the old number and what goes
    /// by the new one.
    pub struct PartitionsAdded {
        /// The topic.
        1 => id: TopicId,
        /// How many it has from here on.
        2 => partitions: u32,
        /// Where each of the old ones ends here.
        3 => ends: Vec<Offset>,
        /// Whose requests are to be placed again: the topic, and those that routes lead here from.
        4 => epochs: Vec<TopicEpoch>,
        /// When.
        5 => time: Timestamp,
    }

    /// A topic's binding epoch from here on.
    pub struct TopicEpoch {
        /// The topic.
        1 => topic: TopicId,
        /// The epoch.
        2 => epoch: BindingEpoch,
    }

    /// A group stands elsewhere.
    pub struct CursorSet {
        /// The group.
        1 => group: GroupName,
        /// The topic.
        2 => topic: TopicId,
        /// The partition.
        3 => partition: PartitionId,
        /// The next offset it will read.
        4 => offset: Offset,
    }

    /// Records went before groups had read them. Stands in the entry that removed them, as the
    /// record of who lost what.
    pub struct Expired {
        /// The topic.
        1 => topic: TopicId,
        /// The partition.
        2 => partition: PartitionId,
        /// Where the partition begins from here on.
        3 => start: Offset,
        /// Those that had not read so far.
        4 => groups: Vec<ExpiredGroup>,
        /// When.
        5 => time: Timestamp,
    }

    /// What a group did not read.
    pub struct ExpiredGroup {
        /// The group.
        1 => group: GroupName,
        /// How many records.
        2 => unread: u64,
    }
}

impl Change {
    /// No change; a start for struct update syntax.
    pub(crate) const NONE: Self = Self {
        topic_created: None,
        topic_deleted: None,
        plugin_pushed: None,
        plugin_removed: None,
        bound: None,
        unbound: None,
        producer_opened: None,
        topic_updated: None,
        partitions_added: None,
        cursor_set: None,
        expired: None,
    };
}
