//! The hooks of the addressed topic run over one request: transforms one after the other, each on
//! what the one before made of the records, then routes and keys on what is left.
//!
//! A record on which a hook fails follows the binding's error policy; the others go on. What the
//! producer hears is about the records that it sent, so every index is followed back to those.

mod transform;

use std::borrow::Cow;

use bytes::Bytes;
use futures_util::future::{join, join_all};
use weir_core::place::{
    Batch, Decisions, Letter, Placed, Refused, Routing, Sources, Target, place,
};
use weir_host::{CallError, Input, RecordFailure, Verdicts};
use weir_wire::batch::{BatchHeader, RecordView, Records, Verified};
use weir_wire::dead_letter::DeadLetter;
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::id::Timestamp;
use weir_wire::placement::OrderingKey;
use weir_wire::plugin::ErrorPolicy;
use weir_wire::produce::{Fate, REFUSAL_DEAD_LETTERED, REFUSAL_DROPPED};

use super::{Flight, Turn, overloaded};
use crate::budget::Held;
use crate::state::Shared;
use crate::topics::{Binding, RouteBinding, TopicView, Unready};

/// Why a request goes no further.
pub(super) enum Stop {
    /// The refusal is its outcome.
    Refuse(Fault),
    /// It may be sent again.
    Retry(Fault),
}

/// Why there is no room.
pub(super) const CROWDED: &str =
    "the broker has unfolded as many batches as it may; send more slowly";

/// The right to hold the records of one request, unfolded, and what becomes of them.
pub(super) struct Room<'a> {
    shared: &'a Shared,
    held: Held,
}

impl<'a> Room<'a> {
    /// Waits for room as long as a request may wait.
    pub(super) async fn within(shared: &'a Shared, bytes: usize) -> Option<Self> {
        let deadline = shared.config.limits.request_deadline;
        let held = shared.unfolded.hold_within(bytes, deadline).await?;
        Some(Self { shared, held })
    }

    /// The records take this much, before and after a hook together.
    fn make(&mut self, bytes: usize) -> Result<(), Stop> {
        if self.shared.unfolded.try_grow(&mut self.held, bytes) {
            return Ok(());
        }
        Err(Stop::Retry(overloaded(self.shared, CROWDED)))
    }

    /// What became of the records takes this much, and they themselves are no more. Answers whether
    /// there is room for it.
    fn keep(&mut self, bytes: usize) -> bool {
        let fits = self.shared.unfolded.try_grow(&mut self.held, bytes);
        self.held.shrink_to(bytes);
        fits
    }
}

/// What a request takes while the hooks of a topic run, as long as its records do not grow.
pub(super) fn room_for(view: &TopicView, bytes: usize, count: u32) -> usize {
    let copies = if view.transforms.is_empty() { 1 } else { 2 };
    bytes * copies + count as usize * per_record(view)
}

/// What is noted of each record: where it comes from, what each route and key says, its fate.
fn per_record(view: &TopicView) -> usize {
    size_of::<u32>() + size_of::<u64>() * (view.routes.len() + view.keys.len()) + size_of::<Fate>()
}

/// Runs the hooks, and places what they leave.
pub(super) async fn run(
    view: &TopicView,
    flight: &Flight,
    verified: Verified<'_>,
    mut room: Room<'_>,
    turn: &mut Turn,
) -> Result<(Placed, Option<Held>), Stop> {
    let header = verified.header;
    let unfolded = room_for(view, verified.records.len(), header.count);
    room.held.shrink_to(unfolded);
    let addressed = Target {
        partition: flight.partition,
        ..view.target.clone()
    };
    let mut records = Flow::new(view, &header, Bytes::from(verified.records.into_owned()));
    for binding in &view.transforms {
        transform::run(&mut records, binding, &mut room).await?;
    }
    let (sets, keys) = records.judge(&view.routes, &view.keys).await?;
    records.settled();
    let routes: Vec<Routing<'_>> = view
        .routes
        .iter()
        .zip(&sets)
        .map(|(route, sets)| Routing {
            binding: route.binding.id,
            targets: &route.targets,
            sets,
        })
        .collect();
    let sources = records.sources.as_deref().map(|of| Sources {
        of,
        count: header.count,
    });
    let decisions = Decisions {
        addressed: &addressed,
        sources,
        routes: &routes,
        keys: keys.as_deref(),
        refused: &records.refused,
        left_out: &records.left_out,
        letters: &records.letters,
        sticky: flight.sticky,
    };
    let batch = Batch {
        compression: header.compression,
        base_timestamp: records.base_timestamp,
        count: records.count,
        records: &records.section,
    };
    let mut placed = place(&batch, &decisions)?;
    if !room.keep(placed.bytes()) {
        // Many copies of the records, perhaps, while a request before this one is slow. They are
        // made again when they can be handed on at once: one stream has so much only once.
        drop(placed);
        turn.come().await;
        placed = place(&batch, &decisions)?;
    }
    Ok((placed, Some(room.held)))
}

/// The records of a request on their way through the hooks.
struct Flow<'a> {
    view: &'a TopicView,
    base_timestamp: Timestamp,
    count: u32,
    section: Bytes,
    /// For each the producer's record that it comes from; `None` while they are the producer's
    /// own.
    sources: Option<Vec<u32>>,
    refused: Vec<Refused>,
    /// Those that routes and keys failed on, by their index.
    left_out: Vec<u32>,
    letters: Vec<Letter<'a>>,
}

impl<'a> Flow<'a> {
    const fn new(view: &'a TopicView, header: &BatchHeader, section: Bytes) -> Self {
        Self {
            view,
            base_timestamp: header.base_timestamp,
            count: header.count,
            section,
            sources: None,
            refused: Vec::new(),
            left_out: Vec::new(),
            letters: Vec::new(),
        }
    }

    fn input(&self) -> Input {
        Input {
            base_timestamp: self.base_timestamp,
            count: self.count,
            records: self.section.clone(),
        }
    }

    /// The producer's record that a record comes from.
    fn source(&self, index: u32) -> u32 {
        let sources = self.sources.as_ref();
        sources.map_or(index, |of| of.get(index as usize).copied().unwrap_or(index))
    }

    fn record(&self, index: u32) -> Option<RecordView<'_>> {
        let mut records = Records::new(&self.section, self.count);
        records.nth(index as usize)?.ok()
    }

    fn refuse(&mut self, index: u32, kind: u32, binding: &Binding, reason: Cow<'static, str>) {
        let source = self.source(index);
        self.refused.push(Refused {
            source,
            kind,
            binding: binding.id,
            reason,
        });
    }

    /// A record goes to the dead-letter topic instead.
    fn bury(&mut self, binding: &'a Binding, target: &'a Target, failure: &RecordFailure) {
        let Some(record) = self.record(failure.index) else {
            return;
        };
        let why = DeadLetter {
            topic: &self.view.target.name,
            plugin: &binding.plugin,
            version: binding.version,
            hook: binding.hook,
            binding: Some(binding.id),
            message: &failure.message,
            backtrace: failure.backtrace.as_deref(),
            read_from: None,
        };
        let letter = Letter {
            target,
            timestamp: record.timestamp(self.base_timestamp),
            body: why.body(&record),
        };
        self.letters.push(letter);
    }

    /// Applies the binding's error policy to a record that it failed on: whether the record is
    /// taken out, or goes on as it was.
    fn fail(&mut self, binding: &'a Binding, failure: RecordFailure) -> Result<Failed, Stop> {
        let policy = binding.on_error;
        // A binding before this one has had the record taken out, and said what becomes of it.
        if policy != ErrorPolicy::Fail && self.left_out.contains(&failure.index) {
            return Ok(Failed::TakenOut);
        }
        match (policy, &binding.dead_letters) {
            (ErrorPolicy::Skip, _) => return Ok(Failed::GoesOn),
            (ErrorPolicy::Drop, _) => {
                self.refuse(
                    failure.index,
                    REFUSAL_DROPPED,
                    binding,
                    failure.message.into(),
                );
            }
            (ErrorPolicy::DeadLetter, Some(target)) => {
                self.bury(binding, target, &failure);
                let message = failure.message.into();
                self.refuse(failure.index, REFUSAL_DEAD_LETTERED, binding, message);
            }
            _ => {
                let text = format!(
                    "record {} of the batch: {}",
                    self.source(failure.index),
                    failure.message
                );
                let mut fault = refusal(binding, &text);
                fault.record = Some(self.source(failure.index));
                return Err(Stop::Refuse(fault));
            }
        }
        Ok(Failed::TakenOut)
    }

    /// What the route bindings and the key bindings say, all at once: a set for each record of
    /// each route binding, and the keys.
    async fn judge(
        &mut self,
        routes: &'a [RouteBinding],
        keys: &'a [Binding],
    ) -> Result<(Vec<Vec<u64>>, Option<Vec<OrderingKey>>), Stop> {
        let input = &self.input();
        let none_left = input.count == 0;
        let routed = routes.iter().map(|route| async move {
            let bound = ready(&route.binding)?;
            if none_left {
                return Ok(Verdicts::default());
            }
            let said = bound.route(input.clone()).await;
            said.map_err(|error| stop(&route.binding, &error))
        });
        let named = keys.iter().map(|key| async move {
            let bound = ready(key)?;
            if none_left {
                return Ok(Verdicts::default());
            }
            let said = bound.keys(input.clone()).await;
            said.map_err(|error| stop(key, &error))
        });
        let (routed, named) = join(join_all(routed), join_all(named)).await;
        let mut sets = Vec::with_capacity(routes.len());
        for (route, verdicts) in routes.iter().zip(routed) {
            let said = self.settle(&route.binding, verdicts?)?;
            sets.push(said.into_iter().map(|set| set.bits()).collect());
        }
        let mut all: Option<Vec<OrderingKey>> = None;
        for (key, verdicts) in keys.iter().zip(named) {
            let said = self.settle(key, verdicts?)?;
            // The first in the chain that names a key decides.
            match &mut all {
                None => all = Some(said),
                Some(all) => {
                    let open = all.iter_mut().zip(said);
                    let open = open.filter(|(known, _)| **known == OrderingKey::NONE);
                    open.for_each(|(known, said)| *known = said);
                }
            }
        }
        Ok((sets, all))
    }

    fn settle<T>(&mut self, binding: &'a Binding, verdicts: Verdicts<T>) -> Result<Vec<T>, Stop> {
        for failure in verdicts.failures {
            let index = failure.index;
            if matches!(self.fail(binding, failure)?, Failed::TakenOut) {
                self.left_out.push(index);
            }
        }
        Ok(verdicts.values)
    }

    /// Brings what was refused into the order of the records.
    fn settled(&mut self) {
        self.refused.sort_by_key(|refused| refused.source);
        self.left_out.sort_unstable();
        self.left_out.dedup();
    }
}

/// What becomes of a record that a hook failed on.
enum Failed {
    /// It goes on as if the hook were not bound.
    GoesOn,
    /// It goes no further.
    TakenOut,
}

fn ready(binding: &Binding) -> Result<&weir_host::Bound, Stop> {
    binding.bound.as_ref().map_err(|unready| {
        let (id, plugin) = (binding.id, &binding.plugin);
        let text = format!("binding {id} (plugin \"{plugin}\") cannot run: {unready}");
        match unready {
            Unready::Compiling | Unready::Later(_) => Stop::Retry(Fault::new(
                ErrorCode::Overloaded,
                format!("{text}; send again later"),
            )),
            Unready::Broken(_) => Stop::Refuse(Fault::new(
                ErrorCode::PluginFailed,
                format!("{text}; bind it anew or unbind it"),
            )),
        }
    })
}

/// A call gave no answer at all.
fn stop(binding: &Binding, error: &CallError) -> Stop {
    let mut fault = refusal(binding, &error.to_string());
    if error.is_retryable() {
        fault.code = ErrorCode::Overloaded;
        if let CallError::Quarantined { retry_after, .. } = error {
            fault.retry_after = Some(*retry_after);
        }
        return Stop::Retry(fault);
    }
    Stop::Refuse(fault)
}

fn refusal(binding: &Binding, text: &str) -> Fault {
    let text = format!(
        "plugin \"{}\" (binding {}): {text}",
        binding.plugin, binding.id
    );
    Fault::new(ErrorCode::PluginFailed, text)
}
