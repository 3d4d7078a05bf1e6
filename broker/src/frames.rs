//! Frames on QUIC streams, the broker's side: payloads go straight into page-aligned buffers.

use std::time::Duration;

use bytes::Bytes;
use quinn::{ReadError, RecvStream, SendStream, VarInt};
use tokio::time::timeout;
use weir_log::PageBuf;
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::frame::{Assembler, Frame, FrameMessage, Kind, PayloadBuffer};
use weir_wire::request::Error;

use crate::budget::{Intake, Permit};
use crate::fault::IntoFault;

const CHUNKS: usize = 64;
/// Frames up to here need no room of their own: the number of streams bounds them.
const SMALL: usize = 16 << 10;
/// The code of a stream that is cut because its reader takes nothing.
const SLOW: VarInt = VarInt::from_u32(ErrorCode::Overloaded as u32);

/// A payload in a buffer that can go to the disk as it is.
#[derive(Debug)]
pub(crate) struct Payload {
    pub(crate) bytes: PageBuf,
    /// The right to hold a large frame, from its prefix until somebody else answers for it.
    pub(crate) room: Option<Permit>,
}

impl PayloadBuffer for Payload {
    fn with_capacity(capacity: usize) -> Self {
        Self {
            bytes: PageBuf::with_capacity(capacity),
            room: None,
        }
    }

    fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// A frame as the broker reads it.
pub(crate) type Received = Frame<Payload>;

/// Reads frames from a stream.
pub(crate) struct FrameReader {
    stream: RecvStream,
    assembler: Assembler<Payload>,
    chunks: Vec<Bytes>,
    next: usize,
    filled: usize,
    /// Where large frames find room; a stranger's frames are all small.
    intake: Option<Intake>,
    room: Option<Permit>,
}

/// Why no further frame comes from a stream.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The peer or the connection is gone.
    Lost,
    /// The peer sent what is no frame; it is to be told.
    Violation(Fault),
}

impl FrameReader {
    /// Reads frames of these kinds only: no room is made for any other.
    pub(crate) fn expecting(stream: RecvStream, kinds: &'static [Kind]) -> Self {
        Self {
            stream,
            assembler: Assembler::expecting(kinds),
            chunks: vec![Bytes::new(); CHUNKS],
            next: 0,
            filled: 0,
            intake: None,
            room: None,
        }
    }

    /// Large frames are read only as far as there is room for them here.
    pub(crate) fn within(self, intake: Intake) -> Self {
        Self {
            intake: Some(intake),
            ..self
        }
    }

    /// The stream has said what it is: from here on it carries these kinds.
    pub(crate) const fn only(&mut self, kinds: &'static [Kind]) {
        self.assembler.expect(kinds);
    }

    /// The next frame; `None` when the peer finished the stream between two frames.
    ///
    /// Cancel-safe: what was read stays here.
    pub(crate) async fn next(&mut self) -> Result<Option<Received>, Ended> {
        loop {
            while self.next < self.filled {
                let chunk = &mut self.chunks[self.next];
                let frame = self.assembler.feed(chunk);
                if chunk.is_empty() {
                    self.next += 1;
                }
                match frame {
                    Ok(Some(mut frame)) => {
                        frame.payload.room = self.room.take();
                        return Ok(Some(frame));
                    }
                    Ok(None) => self.makeroom()?,
                    Err(error) => return Err(Ended::Violation(error.into_fault())),
                }
            }
            match self.read().await? {
                Ok(Some(filled)) => (self.next, self.filled) = (0, filled),
                Ok(None) if self.assembler.is_midway() => {
                    let text = "the stream ended in the middle of a frame";
                    return Err(Ended::Violation(Fault::new(
                        ErrorCode::MalformedFrame,
                        text,
                    )));
                }
                Ok(None) => return Ok(None),
                Err(_) => return Err(Ended::Lost),
            }
        }
    }

    /// A large frame that has begun gets room for all of itself, or its stream ends: what is
    /// read of it can no longer be held back by flow control.
    fn makeroom(&mut self) -> Result<(), Ended> {
        let (Some(intake), None) = (&self.intake, &self.room) else {
            return Ok(());
        };
        let Some(bytes) = self.assembler.announced().filter(|bytes| *bytes > SMALL) else {
            return Ok(());
        };
        self.room = intake.take(bytes);
        if self.room.is_some() {
            return Ok(());
        }
        let text = "the broker is taking in as many large frames as it may; send it again later";
        let mut fault = Fault::new(ErrorCode::Overloaded, text);
        fault.retry_after = Some(intake.patience() / 10);
        Err(Ended::Violation(fault))
    }

    /// Reads on. Whoever holds room that others wait for has to keep sending.
    async fn read(&mut self) -> Result<Result<Option<usize>, ReadError>, Ended> {
        let read = self.stream.read_chunks(&mut self.chunks);
        let (Some(intake), Some(_)) = (&self.intake, &self.room) else {
            return Ok(read.await);
        };
        timeout(intake.patience(), read).await.map_err(|_| {
            let text = format!(
                "nothing more of a frame came for {:?}; send it again as a whole",
                intake.patience()
            );
            Ended::Violation(Fault::new(ErrorCode::Overloaded, text))
        })
    }
}

/// The connection is gone: there is nobody to write to.
#[derive(Debug)]
pub(crate) struct Gone;

/// Sends a frame without a payload.
pub(crate) async fn send(stream: &mut SendStream, message: &impl FrameMessage) -> Result<(), Gone> {
    stream
        .write_all(&message.to_frame(0))
        .await
        .map_err(|_| Gone)
}

/// Sends parts of a frame, one behind the other. Whoever takes nothing of it for so long is not
/// waited for: others may want the room that it holds.
pub(crate) async fn send_within(
    stream: &mut SendStream,
    parts: [&[u8]; 2],
    patience: Duration,
) -> Result<(), Gone> {
    for mut rest in parts {
        while !rest.is_empty() {
            let Ok(written) = timeout(patience, stream.write(rest)).await else {
                let _ = stream.reset(SLOW);
                return Err(Gone);
            };
            rest = rest.get(written.map_err(|_| Gone)?..).unwrap_or_default();
        }
    }
    Ok(())
}

/// Sends an error frame.
pub(crate) async fn send_fault(stream: &mut SendStream, fault: &Fault) -> Result<(), Gone> {
    send(stream, &Error::from(fault)).await
}

/// Ends a stream and waits until the peer has everything, so that closing the connection
/// afterwards loses nothing.
pub(crate) async fn finish(mut stream: SendStream) {
    if stream.finish().is_ok() {
        let _ = stream.stopped().await;
    }
}
