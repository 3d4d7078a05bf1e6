//! Frames off a stream.

use bytes::Bytes;
use quinn::RecvStream;
use weir_wire::frame::{Assembler, Frame, FrameMessage, Kind};
use weir_wire::request;

use super::error::StreamError;

/// Pieces taken off a stream at a time: a packet each, so about 64 KB or more per wake-up.
const CHUNKS: usize = 64;

/// Reads frames off one stream; every method may be cancelled and called again.
pub(crate) struct FrameReader {
    stream: RecvStream,
    chunks: Box<[Bytes]>,
    /// The chunks from `at` to `filled` hold what was not used yet.
    at: usize,
    filled: usize,
    assembler: Assembler<Vec<u8>>,
}

impl FrameReader {
    pub(crate) fn new(stream: RecvStream) -> Self {
        Self {
            stream,
            chunks: vec![Bytes::new(); CHUNKS].into_boxed_slice(),
            at: 0,
            filled: 0,
            assembler: Assembler::default(),
        }
    }

    /// The next frame; `None` when the broker finished the stream behind a whole one.
    pub(crate) async fn next(&mut self) -> Result<Option<Frame<Vec<u8>>>, StreamError> {
        loop {
            while let Some(chunk) = self.chunks[..self.filled].get_mut(self.at) {
                if let Some(frame) = self.assembler.feed(chunk)? {
                    return Ok(Some(frame));
                }
                self.at += 1;
            }
            match self.stream.read_chunks(&mut self.chunks).await? {
                Some(filled) => (self.at, self.filled) = (0, filled),
                None if self.assembler.is_midway() => {
                    return Err(StreamError::Lost("a frame was cut off".to_owned()));
                }
                None => return Ok(None),
            }
        }
    }

    /// The message that must come next; the broker may send an error instead.
    pub(crate) async fn expect<M: FrameMessage>(&mut self) -> Result<M, StreamError> {
        let (message, _) = self.expect_with_payload().await?;
        Ok(message)
    }

    /// The same with the payload of its frame.
    pub(crate) async fn expect_with_payload<M: FrameMessage>(
        &mut self,
    ) -> Result<(M, Vec<u8>), StreamError> {
        let frame = self.next().await?;
        let frame = frame.ok_or_else(|| StreamError::Lost("there was no reply".to_owned()))?;
        match frame.kind {
            kind if kind == M::KIND => Ok((frame.message()?, frame.payload)),
            Kind::Error => Err(StreamError::Fault(fault(&frame)?)),
            kind => Err(StreamError::unexpected(kind)),
        }
    }
}

/// The error that a frame of kind [`Kind::Error`] carries.
pub(crate) fn fault<P>(frame: &Frame<P>) -> Result<weir_wire::error::Fault, StreamError> {
    Ok(frame.message::<request::Error>()?.into())
}

impl std::fmt::Debug for FrameReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("FrameReader")
            .field(&self.stream.id())
            .finish()
    }
}
