//! Tells the user why nothing goes on: a broker that is away, or refuses records for now.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};
use weir_sdk::{Producer, Stall};

use crate::{output, time};

/// How often it is looked. What is over before it was seen twice is not worth a word.
const TICK: Duration = Duration::from_millis(500);

/// Looks after the producer for ever.
pub async fn watch(producer: Producer) {
    let mut ticks = interval_at(Instant::now() + TICK, TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = Told::default();
    loop {
        ticks.tick().await;
        if let Some(text) = told.sees(producer.stall().as_ref()) {
            output::note(&text);
        }
    }
}

/// What the user knows.
#[derive(Debug, Default)]
struct Told {
    /// Whether the broker was away, if something was seen at the last look.
    seen: Option<bool>,
    /// The same, of what was told.
    told: Option<bool>,
}

impl Told {
    fn sees(&mut self, stall: Option<&Stall>) -> Option<String> {
        let before = std::mem::replace(&mut self.seen, stall.map(|stall| stall.away));
        match stall {
            None => match self.told.take()? {
                true => Some("the broker is back".to_owned()),
                false => Some("the broker takes records again".to_owned()),
            },
            Some(stall) if before == self.seen && self.told != self.seen => {
                self.told = self.seen;
                Some(text(stall))
            }
            Some(_) => None,
        }
    }
}

fn text(stall: &Stall) -> String {
    let reason = &stall.reason;
    let what = if stall.away {
        "the broker is away"
    } else {
        "the broker takes no records for now"
    };
    match stall.left {
        Some(left) => {
            let left = time::format_duration(left);
            format!("{what} ({reason}); trying again for {left}")
        }
        None => format!("{what} ({reason})"),
    }
}
