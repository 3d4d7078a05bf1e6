//! Tells the user that a subscription is interrupted, once it is worth a word, and when it goes on.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use weir_sdk::Away;

use crate::{output, time};

/// An interruption that is over sooner is nobody's business.
const PATIENCE: Duration = Duration::from_secs(1);

/// What is known of an interruption.
#[derive(Debug, Default)]
pub struct Interruption {
    /// What is to be told, and when.
    untold: Option<(Instant, Away)>,
    told: bool,
}

impl Interruption {
    /// It begins.
    pub fn begins(&mut self, away: Away) {
        self.untold = Some((Instant::now() + PATIENCE, away));
    }

    /// Something came: it is over, if there was one.
    pub fn ends(&mut self) {
        self.untold = None;
        if std::mem::take(&mut self.told) {
            output::note("the broker is back");
        }
    }

    /// Waits for what comes next, and tells what there is to tell meanwhile.
    pub async fn wait<T>(&mut self, next: impl Future<Output = T>) -> T {
        let mut next = pin!(next);
        while let Some((at, _)) = &self.untold {
            tokio::select! {
                biased;
                next = &mut next => return next,
                () = sleep_until(*at) => self.tell(),
            }
        }
        next.await
    }

    fn tell(&mut self) {
        if let Some((_, away)) = self.untold.take() {
            let left = time::format_duration(away.tries_for.saturating_sub(PATIENCE));
            output::note(&format!(
                "the broker is away ({}); trying again for {left}",
                away.reason
            ));
            self.told = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_a_long_interruption_is_told() {
        let mut interruption = Interruption::default();
        assert_eq!(interruption.wait(ready(1)).await, 1);
        assert!(!interruption.told);
        let waited = timeout(PATIENCE * 2, interruption.wait(pending::<()>())).await;
        assert!(waited.is_err() && !interruption.told, "there is none");
    }
}
