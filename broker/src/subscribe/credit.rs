//! What a subscriber has allowed to be sent, shared by the lanes of its subscription.

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Bytes and records that may still be sent. A batch goes out while any of both is left, so
/// either may end below zero by one batch per lane.
#[derive(Debug)]
pub(super) struct Credit {
    left: Mutex<Left>,
    more: Notify,
}

#[derive(Debug)]
struct Left {
    bytes: i64,
    records: i64,
}

impl Left {
    const fn is_some(&self) -> bool {
        self.bytes > 0 && self.records > 0
    }
}

impl Credit {
    pub(super) fn new(bytes: u64, records: u64) -> Self {
        let left = Left {
            bytes: clamp(bytes),
            records: clamp(records),
        };
        Self {
            left: Mutex::new(left),
            more: Notify::new(),
        }
    }

    /// The subscriber allows more.
    pub(super) fn grant(&self, bytes: u64, records: u64) {
        let mut left = self.left.lock();
        left.bytes = left.bytes.saturating_add(clamp(bytes));
        left.records = left.records.saturating_add(clamp(records));
        if left.is_some() {
            self.more.notify_waiters();
        }
    }

    /// Something was sent.
    pub(super) fn spend(&self, bytes: usize, records: u32) {
        let mut left = self.left.lock();
        left.bytes -= bytes as i64;
        left.records -= i64::from(records);
    }

    /// Whether something may be sent.
    pub(super) fn is_some(&self) -> bool {
        self.left.lock().is_some()
    }

    /// Waits until something may be sent.
    pub(super) async fn available(&self) {
        loop {
            let more = self.more.notified();
            if self.left.lock().is_some() {
                return;
            }
            more.await;
        }
    }
}

fn clamp(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}
