//! The form of a section: messages, one behind the other, each with its length before it.

use std::marker::PhantomData;

use bytes::Bytes;
use weir_wire::id::{
    BindingEpoch, BindingId, Offset, PartitionId, ProducerEpoch, ProducerId, Sequence, TopicId,
};
use weir_wire::message;
use weir_wire::message::{Message, MessageError};
use weir_wire::name::GroupName;
use weir_wire::varint::{Reader, put_unsigned};

use crate::change::{BindingEvent, Change, PluginPushed};
use crate::cursors::GroupCursors;

message! {
    /// A part of the section `catalog`; exactly one field is set.
    pub struct CatalogItem {
        /// Comes first.
        1 => head: Option<CatalogHead>,
        /// A topic.
        2 => topic: Option<TopicState>,
        /// A version of a plugin; those of one plugin in the order in which they were pushed.
        3 => plugin: Option<PluginPushed>,
    }

    /// Ids that were given away.
    pub struct CatalogHead {
        /// The newest topic.
        1 => last_topic: TopicId,
        /// The newest binding.
        2 => last_binding: BindingId,
    }

    /// A topic.
    pub struct TopicState {
        /// Its id.
        1 => id: TopicId,
        /// How often its bindings changed.
        2 => epoch: BindingEpoch,
        /// The changes that make it.
        3 => changes: Vec<Change>,
        /// How its bindings changed, the oldest first.
        4 => history: Vec<BindingEvent>,
    }

    /// A part of the section `producers`; exactly one field is set.
    pub struct ProducerItem {
        /// Comes first: the newest id that was given away.
        1 => last: Option<ProducerId>,
        /// A session; the longest idle come first.
        2 => session: Option<SessionState>,
    }

    /// A producer session.
    pub struct SessionState {
        /// The producer.
        1 => id: ProducerId,
        /// Its epoch.
        2 => epoch: ProducerEpoch,
        /// The topic it addresses.
        3 => topic: TopicId,
        /// The oldest request whose outcome is remembered; without any, the one that comes next.
        4 => oldest: Sequence,
        /// The outcomes from there on.
        5 => outcomes: Vec<Bytes>,
    }

    /// The section `cursors` consists of these: a group, in one topic that it reads.
    pub struct GroupState {
        /// The topic.
        1 => topic: TopicId,
        /// The group.
        2 => group: GroupName,
        /// Records that went before it had read them.
        3 => expired_unread: u64,
        /// Where it stands.
        4 => cursors: Vec<CursorState>,
    }

    /// Where a group stands in a partition.
    pub struct CursorState {
        /// The partition.
        1 => partition: PartitionId,
        /// The next offset it will read.
        2 => offset: Offset,
    }
}

impl CatalogItem {
    pub(super) const fn head(last_topic: TopicId, last_binding: BindingId) -> Self {
        let head = CatalogHead {
            last_topic,
            last_binding,
        };
        Self {
            head: Some(head),
            topic: None,
            plugin: None,
        }
    }

    pub(super) const fn topic(topic: TopicState) -> Self {
        Self {
            head: None,
            topic: Some(topic),
            plugin: None,
        }
    }

    pub(super) const fn plugin(pushed: PluginPushed) -> Self {
        Self {
            head: None,
            topic: None,
            plugin: Some(pushed),
        }
    }
}

impl ProducerItem {
    pub(super) const fn head(last: ProducerId) -> Self {
        Self {
            last: Some(last),
            session: None,
        }
    }

    pub(super) const fn session(session: SessionState) -> Self {
        Self {
            last: None,
            session: Some(session),
        }
    }
}

impl GroupState {
    pub(super) fn new(topic: TopicId, group: &GroupName, cursors: &GroupCursors) -> Self {
        let offsets = cursors.offsets.iter();
        Self {
            topic,
            group: group.clone(),
            expired_unread: cursors.expired_unread,
            cursors: offsets
                .map(|(partition, offset)| CursorState {
                    partition: *partition,
                    offset: *offset,
                })
                .collect(),
        }
    }

    pub(super) fn into_group(self) -> (TopicId, GroupName, GroupCursors) {
        let cursors = self.cursors.into_iter();
        let group = GroupCursors {
            offsets: cursors.map(|at| (at.partition, at.offset)).collect(),
            expired_unread: self.expired_unread,
        };
        (self.topic, self.group, group)
    }
}

/// Appends a message.
pub(super) fn put(out: &mut Vec<u8>, item: &impl Message) {
    let bytes = item.to_vec();
    put_unsigned(out, bytes.len() as u64);
    out.extend_from_slice(&bytes);
}

/// Reads the messages of a section.
pub(super) struct Items<'a, M> {
    reader: Reader<'a>,
    message: PhantomData<M>,
}

impl<'a, M> Items<'a, M> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self {
            reader: Reader::new(bytes),
            message: PhantomData,
        }
    }
}

impl<M: Message> Iterator for Items<'_, M> {
    type Item = Result<M, MessageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let item = self.reader.unsigned().and_then(|length| {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            self.reader.take(length)
        });
        let item = item.map_err(MessageError::from).and_then(M::decode);
        if item.is_err() {
            // What follows cannot be told apart any more.
            self.reader = Reader::new(&[]);
        }
        Some(item)
    }
}
