//! A frame from its bytes: checked, and without a copy of the batch.

use bytes::Bytes;
use weir_wire::id::TopicPartition;

use crate::format::entry::{ENVELOPE_FIXED, Envelope};
use crate::format::fields::{DecodeError, Fields};
use crate::format::segment::{decode_frame_head, frame_length};
use crate::index::StoredBatch;

/// A batch whose envelope was read, and where its own bytes are.
#[derive(Debug)]
pub(crate) struct FrameHead {
    pub(crate) envelope: Envelope,
    /// Bytes up to the batch.
    head: usize,
}

impl FrameHead {
    /// Reads the head of the frame at the start of `frame`.
    pub(crate) fn decode(frame: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(frame);
        let envelope = decode_frame_head(&mut fields)?;
        Ok(Self {
            envelope,
            head: fields.at(),
        })
    }

    /// Checks the batch behind the head, and answers with it.
    pub(crate) fn batch(self, frame: &Bytes) -> Result<StoredBatch, DecodeError> {
        let Self { envelope, head } = self;
        let wrong = |what| DecodeError { at: head, what };
        let end = head + envelope.batch_length as usize;
        if end > frame.len() {
            return Err(wrong("it ends too early"));
        }
        let bytes = frame.slice(head..end);
        if crc32c::crc32c(&bytes) != envelope.batch_crc {
            return Err(wrong("a batch's checksum is wrong"));
        }
        Ok(StoredBatch {
            base_offset: envelope.base_offset,
            count: envelope.count,
            append_time: envelope.append_time,
            columns: envelope.columns,
            crc: envelope.batch_crc,
            bytes,
        })
    }
}

/// The frames of a part of a run, one behind the other.
#[derive(Debug)]
pub(crate) struct Frames {
    bytes: Bytes,
    at: usize,
}

impl Frames {
    /// `bytes` begin with a frame.
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self { bytes, at: 0 }
    }

    /// Where the next frame begins.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The next frame's head and all its bytes; `None` at the end. Positions of errors count from
    /// where that frame begins.
    pub(crate) fn next(
        &mut self,
        partition: TopicPartition,
    ) -> Result<Option<(FrameHead, Bytes)>, DecodeError> {
        let rest = self.bytes.slice(self.at..);
        if rest.is_empty() {
            return Ok(None);
        }
        let wrong = |what| DecodeError { at: 0, what };
        let length = frame_length(rest.get(..ENVELOPE_FIXED).unwrap_or(&rest))?;
        if length > rest.len() {
            return Err(wrong("a batch reaches beyond its place"));
        }
        let frame = rest.slice(..length);
        let head = FrameHead::decode(&frame)?;
        if head.envelope.partition != partition {
            return Err(wrong("another batch stands there"));
        }
        self.at += length;
        Ok(Some((head, frame)))
    }
}
