//! Frames on QUIC streams, the broker's side: payloads go straight into page-aligned buffers.

use bytes::Bytes;
use quinn::{RecvStream, SendStream};
use weir_log::PageBuf;
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::frame::{Assembler, Frame, FrameMessage, Kind, PayloadBuffer};
use weir_wire::request::Error;

use crate::fault::IntoFault;

const CHUNKS: usize = 64;

/// A payload in a buffer that can go to the disk as it is.
#[derive(Debug)]
pub(crate) struct Payload(pub(crate) PageBuf);

impl PayloadBuffer for Payload {
    fn with_capacity(capacity: usize) -> Self {
        Self(PageBuf::with_capacity(capacity))
    }

    fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn len(&self) -> usize {
        self.0.len()
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
    pub(crate) fn new(stream: RecvStream) -> Self {
        let chunks = vec![Bytes::new(); CHUNKS];
        Self { stream, assembler: Assembler::default(), chunks, next: 0, filled: 0 }
    }

    /// Reads frames of these kinds only: no room is made for any other.
    pub(crate) fn expecting(stream: RecvStream, kinds: &'static [Kind]) -> Self {
        Self { assembler: Assembler::expecting(kinds), ..Self::new(stream) }
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
                    Ok(Some(frame)) => return Ok(Some(frame)),
                    Ok(None) => {}
                    Err(error) => return Err(Ended::Violation(error.into_fault())),
                }
            }
            match self.stream.read_chunks(&mut self.chunks).await {
                Ok(Some(filled)) => (self.next, self.filled) = (0, filled),
                Ok(None) if self.assembler.is_midway() => {
                    let text = "the stream ended in the middle of a frame";
                    return Err(Ended::Violation(Fault::new(ErrorCode::MalformedFrame, text)));
                }
                Ok(None) => return Ok(None),
                Err(_) => return Err(Ended::Lost),
            }
        }
    }
}

/// The connection is gone: there is nobody to write to.
#[derive(Debug)]
pub(crate) struct Gone;

/// Sends a frame without a payload.
pub(crate) async fn send(stream: &mut SendStream, message: &impl FrameMessage) -> Result<(), Gone> {
    stream.write_all(&message.to_frame(0)).await.map_err(|_| Gone)
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
