//! Frames: what every stream consists of. A prefix of 12 bytes, a header (one message) and, for
//! some kinds, a payload (bytes as they are: a record batch, a component).
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | length of everything behind these four bytes, u32 big-endian |
//! | 4 | kind |
//! | 5 | version of the kind: 1 |
//! | 6..8 | flags, 0; a reader ignores those it does not know |
//! | 8..12 | length of the header, u32 big-endian |
//! | 12.. | header, then payload |

use bytes::{Buf, Bytes};

use crate::limits::{
    COMPONENT_BYTES_MAX, FRAME_HEADER_MAX, FRAME_PAYLOAD_MAX, HELLO_FRAME_MAX, RECORDS_HEADER_MAX,
    RECORDS_PAYLOAD_MAX,
};
use crate::message::{Message, MessageError};

/// Bytes before the header.
pub const PREFIX_LEN: usize = 12;
/// The version of every kind so far.
pub const VERSION: u8 = 1;
const COUNTED_FROM: usize = 4;

/// A message that is the header of a frame of one kind.
pub trait FrameMessage: Message {
    /// The kind.
    const KIND: Kind;

    /// The frame's bytes, up to where a payload of `payload_len` bytes follows.
    fn to_frame(&self, payload_len: usize) -> Vec<u8> {
        let mut frame = vec![0; PREFIX_LEN];
        self.encode(&mut frame);
        let header_len = frame.len() - PREFIX_LEN;
        let length = frame.len() - COUNTED_FROM + payload_len;
        frame[..4].copy_from_slice(&(length as u32).to_be_bytes());
        frame[4] = Self::KIND as u8;
        frame[5] = VERSION;
        frame[8..PREFIX_LEN].copy_from_slice(&(header_len as u32).to_be_bytes());
        frame
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal;)*) => {
        /// What a frame is. The numbers are never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum Kind {
            $($(#[$doc])* $name = $number,)*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The kind of that number.
            #[must_use]
            pub const fn from_number(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    /// Client: who it is. The first frame of a connection, on its first stream.
    Hello = 1;
    /// Broker: the client is in.
    Welcome = 2;
    /// Broker: the request failed.
    Error = 3;
    /// Broker: the request is done; there is nothing to tell.
    Done = 4;
    /// Client: make a topic.
    CreateTopic = 10;
    /// Broker: the topic made.
    TopicCreated = 11;
    /// Client: remove a topic and its records.
    DeleteTopic = 12;
    /// Client: which topics there are.
    ListTopics = 14;
    /// Broker: a page of topics.
    Topics = 15;
    /// Client: a topic in detail.
    DescribeTopic = 16;
    /// Broker: the detail.
    TopicDescription = 17;
    /// Client: change a topic.
    UpdateTopic = 18;
    /// Broker: the topic as it is now.
    TopicUpdated = 19;
    /// Client: upload a component (payload).
    PushPlugin = 20;
    /// Broker: the version it became.
    PluginPushed = 21;
    /// Client: which plugins there are.
    ListPlugins = 22;
    /// Broker: a page of plugins.
    Plugins = 23;
    /// Client: a plugin in detail.
    DescribePlugin = 24;
    /// Broker: the detail, with a page of bindings.
    PluginDescription = 25;
    /// Client: remove a plugin or one version of it.
    RemovePlugin = 26;
    /// Client: bind a plugin to a hook of a topic.
    Bind = 28;
    /// Broker: the binding made.
    Bound = 29;
    /// Client: end a binding.
    Unbind = 30;
    /// Client: how the broker is.
    Status = 32;
    /// Broker: how it is.
    BrokerStatus = 33;
    /// Client: remove the oldest records of a topic.
    TruncateTopic = 34;
    /// Broker: the records are gone.
    TopicTruncated = 35;
    /// Client: bind again what a binding took the place of.
    Rollback = 36;
    /// Client: how a topic's bindings changed.
    DescribeHistory = 37;
    /// Broker: the changes.
    History = 38;
    /// Client: try a binding again that rests after grave failures.
    Unquarantine = 39;
    /// Client: this stream produces to one topic from now on.
    OpenProducer = 40;
    /// Broker: the session.
    ProducerOpened = 41;
    /// Client: store a batch (payload).
    Produce = 42;
    /// Broker: what became of it.
    Produced = 43;
    /// Client: this stream governs a subscription from now on.
    Subscribe = 50;
    /// Broker: the subscription.
    Subscribed = 51;
    /// Client: the broker may send that much more.
    Credit = 52;
    /// Broker: this stream carries records of a subscription from now on.
    LaneOpened = 53;
    /// Broker: records (payload: a batch).
    Records = 54;
    /// Broker: how far it has looked, where nothing was to be sent.
    Progress = 55;
    /// Client: what a plugin has logged.
    PluginLogs = 60;
    /// Broker: the lines.
    PluginLogLines = 61;
    /// Client: the component of a plugin's version.
    FetchPlugin = 62;
    /// Broker: the component (payload).
    PluginFetched = 63;
}

impl Kind {
    const fn payload_max(self) -> usize {
        match self {
            Self::PushPlugin | Self::PluginFetched => COMPONENT_BYTES_MAX,
            Self::Produce => FRAME_PAYLOAD_MAX,
            Self::Records => RECORDS_PAYLOAD_MAX,
            _ => 0,
        }
    }

    const fn header_max(self) -> usize {
        match self {
            Self::Hello => HELLO_FRAME_MAX,
            Self::Produced
            | Self::Records
            | Self::TopicDescription
            | Self::TopicTruncated
            | Self::Plugins
            | Self::PluginDescription
            | Self::BrokerStatus
            | Self::History => RECORDS_HEADER_MAX,
            _ => FRAME_HEADER_MAX,
        }
    }
}

/// Why bytes are no frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The lengths contradict each other.
    #[error("the frame's lengths contradict each other; is this a Weir client?")]
    Lengths,
    /// A kind that nobody defined.
    #[error("frame kind {0} is not known; is the other side newer?")]
    Kind(u8),
    /// A version of the kind that this side does not speak.
    #[error("version {version} of frame kind {kind} is not supported; this side speaks version 1")]
    Version {
        /// The kind.
        kind: u8,
        /// The version.
        version: u8,
    },
    /// More bytes than the kind may have.
    #[error("a frame of kind {kind} holds {length} bytes; at most {max} are allowed")]
    TooLarge {
        /// The kind.
        kind: u8,
        /// Header or payload length.
        length: usize,
        /// The limit.
        max: usize,
    },
    /// A kind that has no place here: before the hello, or in the wrong direction.
    #[error("a frame of kind {0} has no place here; see the protocol's order of frames")]
    Unexpected(u8),
}

/// What the prefix of a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// The kind.
    pub kind: Kind,
    /// Bytes of the header.
    pub header_len: usize,
    /// Bytes of the payload.
    pub payload_len: usize,
}

impl Prefix {
    /// Reads and checks a prefix.
    pub fn parse(bytes: &[u8; PREFIX_LEN]) -> Result<Self, FrameError> {
        let [l0, l1, l2, l3, number, version, _, _, h0, h1, h2, h3] = *bytes;
        let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        let header_len = u32::from_be_bytes([h0, h1, h2, h3]) as usize;
        let kind = Kind::from_number(number).ok_or(FrameError::Kind(number))?;
        if version != VERSION {
            return Err(FrameError::Version {
                kind: number,
                version,
            });
        }
        let payload_len = length
            .checked_sub(PREFIX_LEN - COUNTED_FROM)
            .and_then(|rest| rest.checked_sub(header_len))
            .ok_or(FrameError::Lengths)?;
        for (length, max) in [
            (header_len, kind.header_max()),
            (payload_len, kind.payload_max()),
        ] {
            if length > max {
                return Err(FrameError::TooLarge {
                    kind: number,
                    length,
                    max,
                });
            }
        }
        Ok(Self {
            kind,
            header_len,
            payload_len,
        })
    }
}

/// Where an assembler puts a payload: the broker uses page-aligned buffers, clients vectors.
pub trait PayloadBuffer {
    /// An empty buffer with room for that many bytes.
    fn with_capacity(capacity: usize) -> Self;
    /// Adds bytes at the end; never more than the capacity in all.
    fn extend_from_slice(&mut self, bytes: &[u8]);
    /// How many bytes it holds.
    fn len(&self) -> usize;
    /// Whether it holds nothing.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl PayloadBuffer for Vec<u8> {
    fn with_capacity(capacity: usize) -> Self {
        Self::with_capacity(capacity)
    }

    fn extend_from_slice(&mut self, bytes: &[u8]) {
        Self::extend_from_slice(self, bytes);
    }

    fn len(&self) -> usize {
        Self::len(self)
    }
}

/// A whole frame.
#[derive(Clone, Debug)]
pub struct Frame<P> {
    /// The kind.
    pub kind: Kind,
    /// The header's bytes.
    pub header: Vec<u8>,
    /// The payload.
    pub payload: P,
}

impl<P> Frame<P> {
    /// Reads the header as the message of that kind.
    pub fn message<M: FrameMessage>(&self) -> Result<M, MessageError> {
        M::decode(&self.header)
    }
}

/// Puts frames together from whatever pieces arrive; holds at most one frame.
#[derive(Debug)]
pub struct Assembler<P> {
    expected: &'static [Kind],
    prefix: [u8; PREFIX_LEN],
    filled: usize,
    body: Option<Body<P>>,
}

#[derive(Debug)]
struct Body<P> {
    prefix: Prefix,
    header: Vec<u8>,
    payload: P,
}

impl<P> Default for Assembler<P> {
    fn default() -> Self {
        Self::expecting(Kind::ALL)
    }
}

impl<P> Assembler<P> {
    /// An assembler that refuses every other kind at its prefix, before it has made room for it.
    #[must_use]
    pub const fn expecting(kinds: &'static [Kind]) -> Self {
        Self {
            expected: kinds,
            prefix: [0; PREFIX_LEN],
            filled: 0,
            body: None,
        }
    }

    /// From the next frame on, refuses every other kind: the stream has said what it is.
    pub const fn expect(&mut self, kinds: &'static [Kind]) {
        self.expected = kinds;
    }

    /// Bytes of header and payload of a frame that has begun and is not whole, as soon as its
    /// prefix has told them.
    #[must_use]
    pub const fn announced(&self) -> Option<usize> {
        match &self.body {
            Some(body) => Some(body.prefix.header_len + body.prefix.payload_len),
            None => None,
        }
    }
}

impl<P: PayloadBuffer> Assembler<P> {
    /// Takes bytes off the front of `chunk`, up to the end of one frame.
    ///
    /// Answers that frame, or `None` when `chunk` is used up before the frame is whole. After an
    /// error the stream is of no more use.
    pub fn feed(&mut self, chunk: &mut Bytes) -> Result<Option<Frame<P>>, FrameError> {
        if self.body.is_none() && !self.feed_prefix(chunk)? {
            return Ok(None);
        }
        let body = self
            .body
            .as_mut()
            .expect("feed_prefix() answered true only with a body");
        let wanted = body.prefix.header_len - body.header.len();
        let part = chunk.split_to(wanted.min(chunk.len()));
        body.header.extend_from_slice(&part);
        if body.header.len() < body.prefix.header_len {
            return Ok(None);
        }
        let wanted = body.prefix.payload_len - body.payload.len();
        let part = chunk.split_to(wanted.min(chunk.len()));
        body.payload.extend_from_slice(&part);
        if body.payload.len() < body.prefix.payload_len {
            return Ok(None);
        }
        self.filled = 0;
        let body = self.body.take().expect("it was there just now");
        Ok(Some(Frame {
            kind: body.prefix.kind,
            header: body.header,
            payload: body.payload,
        }))
    }

    /// Whether a frame has begun and is not whole: a stream that ends now was cut off.
    #[must_use]
    pub const fn is_midway(&self) -> bool {
        self.filled > 0 || self.body.is_some()
    }

    fn feed_prefix(&mut self, chunk: &mut Bytes) -> Result<bool, FrameError> {
        let count = (PREFIX_LEN - self.filled).min(chunk.len());
        self.prefix[self.filled..self.filled + count].copy_from_slice(&chunk[..count]);
        chunk.advance(count);
        self.filled += count;
        if self.filled < PREFIX_LEN {
            return Ok(false);
        }
        let prefix = Prefix::parse(&self.prefix)?;
        if !self.expected.contains(&prefix.kind) {
            return Err(FrameError::Unexpected(prefix.kind as u8));
        }
        let payload = P::with_capacity(prefix.payload_len);
        let header = Vec::with_capacity(prefix.header_len.min(HELLO_FRAME_MAX));
        self.body = Some(Body {
            prefix,
            header,
            payload,
        });
        Ok(true)
    }
}
