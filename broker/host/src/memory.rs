//! The memory of all instances together.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts bytes of linear memory, and says when there are too many.
#[derive(Debug)]
pub(crate) struct Memory {
    used: AtomicU64,
    max: u64,
}

impl Memory {
    pub(crate) fn new(max: u64) -> Self {
        let used = AtomicU64::new(0);
        Self { used, max }
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// The bound, as far as it can be reached.
    pub(crate) fn max(&self) -> usize {
        usize::try_from(self.max).unwrap_or(usize::MAX)
    }

    /// Takes so many bytes if there are.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        let more = |used: u64| {
            let used = used.checked_add(bytes as u64)?;
            (used <= self.max).then_some(used)
        };
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok()
    }

    pub(crate) fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::Memory;

    #[test]
    fn no_more_is_taken_than_there_is() {
        let memory = Memory::new(100);
        assert!(memory.take(60) && !memory.take(41) && memory.take(40) && !memory.take(1));
        memory.give_back(60);
        assert_eq!(memory.used(), 40);
        assert!(!memory.take(usize::MAX) && memory.take(60));
    }
}
