//! The stream of a lane, and its turn to send much over it.

use bytes::Bytes;
use quinn::{Connection, SendStream};
use weir_wire::frame::FrameMessage;

use super::super::turns::{ConnectionTurns, MUCH, Turn};
use super::Gone;
use crate::frames;

/// See the top of this file.
pub(super) struct Line<'a> {
    stream: SendStream,
    connection: &'a Connection,
    turns: ConnectionTurns,
    turn: Option<Turn>,
}

impl<'a> Line<'a> {
    pub(super) const fn new(
        stream: SendStream,
        connection: &'a Connection,
        turns: ConnectionTurns,
    ) -> Self {
        Self {
            stream,
            connection,
            turns,
            turn: None,
        }
    }

    /// Sends a small message.
    pub(super) async fn tell(&mut self, message: &impl FrameMessage) -> Result<(), Gone> {
        frames::send(&mut self.stream, message)
            .await
            .map_err(|_| Gone)
    }

    /// Waits for a turn if so many bytes are to be sent by and by, which are all there is or not.
    pub(super) async fn take_turn(&mut self, bytes: usize, at_the_end: bool) {
        if bytes >= MUCH && self.turn.is_none() {
            let turn = self.turns.take(at_the_end, || sent(self.connection));
            self.turn = Some(turn.await);
        }
    }

    /// Lets others have their turns, once what was written is on its way: this one is going to wait
    /// for something else.
    pub(super) async fn give_way(&mut self) {
        if let Some(turn) = &self.turn
            && turn.others_wait()
        {
            turn.has_gone_out(|| sent(self.connection)).await;
        }
        self.turn = None;
    }

    /// Writes all of it. What is written is taken out of `parts`, so that whoever gives up waiting
    /// may go on later. The turn ends as soon as the subscriber is the one who is waited for.
    pub(super) async fn write(&mut self, parts: &mut [Bytes]) -> Result<(), Gone> {
        let Self {
            stream,
            connection,
            turn,
            ..
        } = self;
        if let Some(held) = turn {
            tokio::select! {
                biased;
                written = stream.write_all_chunks(parts) => return written.map_err(|_| Gone),
                () = held.is_held_up(|| sent(connection)) => *turn = None,
            }
        }
        stream.write_all_chunks(parts).await.map_err(|_| Gone)
    }

    /// So much was written; maybe it is time for others.
    pub(super) async fn wrote(&mut self, bytes: usize) {
        let Some(turn) = &mut self.turn else { return };
        if turn.wrote(bytes) {
            self.give_way().await;
        }
    }
}

/// Bytes that the connection has sent so far.
fn sent(connection: &Connection) -> u64 {
    connection.stats().udp_tx.bytes
}
