//! Replies of one producer's stream, written in the order of the requests.

use std::sync::Arc;

use quinn::SendStream;
use tokio::sync::{mpsc, oneshot};
use weir_wire::error::Fault;
use weir_wire::frame::{FrameMessage, Kind, PREFIX_LEN, VERSION};
use weir_wire::message::put_varint;
use weir_wire::produce::Produced;
use weir_wire::request::Error;

use crate::frames::{Gone, finish, send_fault};
use crate::producers::Reply;
use crate::state::Shared;

/// `Produced.throttle_ms`.
const THROTTLE_FIELD: u32 = 4;
/// Replies that wait are written together.
const TOGETHER_MAX: usize = 64;

/// What the stream will say next.
pub(super) enum Expected {
    /// The reply to a request.
    Reply(oneshot::Receiver<Reply>),
    /// The stream is over, because of this.
    End(Fault),
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    connection: quinn::Connection,
    stream: SendStream,
    expected: mpsc::Receiver<Expected>,
}

impl Writer {
    pub(super) const fn new(
        shared: Arc<Shared>,
        connection: quinn::Connection,
        stream: SendStream,
        expected: mpsc::Receiver<Expected>,
    ) -> Self {
        Self {
            shared,
            connection,
            stream,
            expected,
        }
    }

    pub(super) async fn run(mut self) {
        if self.write_all().await.is_ok() {
            finish(self.stream).await;
        }
    }

    async fn write_all(&mut self) -> Result<(), Gone> {
        let mut waiting = Vec::with_capacity(TOGETHER_MAX);
        let mut out = Vec::new();
        while self.expected.recv_many(&mut waiting, TOGETHER_MAX).await > 0 {
            for expected in waiting.drain(..) {
                match expected {
                    Expected::Reply(mut reply) => {
                        let ready = match reply.try_recv() {
                            Ok(ready) => Some(ready),
                            Err(_) => {
                                // What is there goes out before anything is waited for.
                                self.flush(&mut out).await?;
                                reply.await.ok()
                            }
                        };
                        // A request that was dropped unanswered belongs to a broker that ends.
                        ready
                            .into_iter()
                            .for_each(|ready| self.encode(&ready, &mut out));
                    }
                    Expected::End(fault) => {
                        self.flush(&mut out).await?;
                        return send_fault(&mut self.stream, &fault).await;
                    }
                }
            }
            self.flush(&mut out).await?;
        }
        Ok(())
    }

    async fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), Gone> {
        if out.is_empty() {
            return Ok(());
        }
        if self.shared.tests.drops_reply() {
            self.connection
                .close(0_u32.into(), b"a test drops this reply");
            return Err(Gone);
        }
        let written = self.stream.write_all(out).await;
        out.clear();
        written.map_err(|_| Gone)
    }

    fn encode(&self, reply: &Reply, out: &mut Vec<u8>) {
        let throttle = self.shared.budget.throttle().as_millis() as u64;
        if throttle > 0 {
            self.shared.metrics.throttled.inc();
        }
        match reply {
            Reply::Outcome(produced) => {
                self.shared.metrics.request(Kind::Produce, Ok(()));
                let mut hint = Vec::new();
                put_varint(THROTTLE_FIELD, throttle, &mut hint);
                // Fields of one message may stand anywhere in it, so the hint goes behind what
                // was stored.
                let header_len = produced.len() + hint.len();
                out.extend_from_slice(&((PREFIX_LEN - 4 + header_len) as u32).to_be_bytes());
                out.extend_from_slice(&[Kind::Produced as u8, VERSION, 0, 0]);
                out.extend_from_slice(&(header_len as u32).to_be_bytes());
                out.extend_from_slice(produced);
                out.extend_from_slice(&hint);
            }
            Reply::Fault(sequence, fault) => {
                self.shared.metrics.request(Kind::Produce, Err(fault.code));
                let produced = Produced {
                    sequence: *sequence,
                    outcome: None,
                    error: Some(Error::from(fault)),
                    throttle_ms: throttle,
                };
                out.extend_from_slice(&produced.to_frame(0));
            }
        }
    }
}
