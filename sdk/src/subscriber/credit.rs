//! Credit: how much the broker may send, and what of it comes back as the application consumes.
//! No I/O.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// Bytes of batches, and records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) bytes: u64,
    pub(super) records: u64,
}

/// The credit of a subscription, shared by the session and the application's side.
#[derive(Debug)]
pub(super) struct Credit {
    budget: Amount,
    /// What came back is granted again when it is worth a frame.
    grain: Amount,
    state: Mutex<State>,
    pub(super) changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Received and not consumed.
    outstanding: Amount,
    /// Consumed and not granted again.
    returned: Amount,
}

/// A frame of credit for every eighth of the budget: the broker never waits for one while the
/// application keeps up.
const GRAINS: u64 = 8;

impl Credit {
    pub(super) fn new(budget: Amount) -> Self {
        let grain = Amount {
            bytes: (budget.bytes / GRAINS).max(1),
            records: (budget.records / GRAINS).max(1),
        };
        Self {
            budget,
            grain,
            state: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// What a new subscription may send: the budget without what still waits here. At least one
    /// of each, so that it begins at all.
    pub(super) fn begin(&self) -> Amount {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.returned = Amount::default();
        let left = |budget: u64, outstanding: u64| budget.saturating_sub(outstanding).max(1);
        Amount {
            bytes: left(self.budget.bytes, state.outstanding.bytes),
            records: left(self.budget.records, state.outstanding.records),
        }
    }

    /// A batch came.
    pub(super) fn received(&self, amount: Amount) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.outstanding.bytes += amount.bytes;
        state.outstanding.records += amount.records;
    }

    /// The application took a batch.
    pub(super) fn consumed(&self, amount: Amount) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.outstanding.bytes = state.outstanding.bytes.saturating_sub(amount.bytes);
        state.outstanding.records = state.outstanding.records.saturating_sub(amount.records);
        state.returned.bytes += amount.bytes;
        state.returned.records += amount.records;
        let worth = self.is_worth_it(state.returned);
        drop(state);
        if worth {
            self.changed.notify_one();
        }
    }

    /// What to grant now, if it is worth a frame.
    pub(super) fn grant(&self) -> Option<Amount> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_worth_it(state.returned)
            .then(|| std::mem::take(&mut state.returned))
    }

    const fn is_worth_it(&self, returned: Amount) -> bool {
        returned.bytes >= self.grain.bytes || returned.records >= self.grain.records
    }
}

#[cfg(test)]
mod tests {
    use super::{Amount, Credit};

    const fn amount(bytes: u64, records: u64) -> Amount {
        Amount { bytes, records }
    }

    #[test]
    fn what_is_consumed_comes_back_in_grains() {
        let credit = Credit::new(amount(800, 80));
        assert_eq!(credit.begin(), amount(800, 80));
        credit.received(amount(150, 3));
        assert_eq!(credit.grant(), None, "nothing was consumed");
        credit.consumed(amount(99, 2));
        assert_eq!(credit.grant(), None, "less than a grain");
        credit.consumed(amount(51, 1));
        assert_eq!(credit.grant(), Some(amount(150, 3)));
        assert_eq!(credit.grant(), None, "it was granted");
    }

    #[test]
    fn a_new_subscription_does_not_get_what_still_waits_here() {
        let credit = Credit::new(amount(800, 80));
        credit.begin();
        credit.received(amount(300, 30));
        credit.consumed(amount(100, 10));
        assert_eq!(credit.begin(), amount(600, 60));
        assert_eq!(
            credit.grant(),
            None,
            "the new subscription counts from its beginning"
        );
        credit.received(amount(9_000, 1));
        assert_eq!(credit.begin(), amount(1, 59), "it must be able to begin");
    }

    #[test]
    fn the_smallest_budget_still_moves() {
        let credit = Credit::new(amount(1, 1));
        credit.begin();
        credit.received(amount(500, 5));
        credit.consumed(amount(500, 5));
        assert_eq!(credit.grant(), Some(amount(500, 5)));
    }
}
