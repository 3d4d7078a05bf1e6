//! The thread that writes to standard output: a pipe that nobody reads blocks this thread alone,
//! and the connection stays alive.

use std::io::{self, Write};

use tokio::sync::{mpsc, oneshot};

use crate::exit::Failure;

/// Buffers that may wait: with more, a slow reader would only cost memory.
const WAITING_MAX: usize = 4;

/// The way to the thread.
#[derive(Debug)]
pub struct Writer {
    buffers: Option<mpsc::Sender<Vec<u8>>>,
    result: oneshot::Receiver<io::Result<()>>,
}

impl Writer {
    /// Starts the thread; it ends with the `Writer`, or at the first error.
    pub fn start() -> Self {
        let (buffers, mut waiting) = mpsc::channel::<Vec<u8>>(WAITING_MAX);
        let (ended, result) = oneshot::channel();
        std::thread::spawn(move || {
            let mut out = io::stdout().lock();
            let mut result = Ok(());
            while result.is_ok()
                && let Some(buffer) = waiting.blocking_recv()
            {
                result = out.write_all(&buffer).and_then(|()| out.flush());
            }
            // Nobody listens any more when the process is ending.
            ended.send(result).ok();
        });
        Self {
            buffers: Some(buffers),
            result,
        }
    }

    /// Hands a buffer over; waits while too many are waiting.
    pub async fn write(&mut self, buffer: Vec<u8>) -> Result<(), Failure> {
        let sent = match &self.buffers {
            Some(buffers) => buffers.send(buffer).await,
            None => return Ok(()),
        };
        if sent.is_err() {
            // Which error it was, `finish` tells.
            self.buffers = None;
            return Err(Failure::writing(&io::ErrorKind::BrokenPipe.into()));
        }
        Ok(())
    }

    /// Waits until everything is written.
    pub async fn finish(mut self) -> Result<(), Failure> {
        self.buffers = None;
        match self.result.await {
            Ok(result) => result.map_err(|error| Failure::writing(&error)),
            Err(_) => Err(Failure::failed("the writing thread ended unexpectedly")),
        }
    }
}
