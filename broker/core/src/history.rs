//! How a topic's bindings changed: the last changes, within bounds of number and memory.

use std::collections::VecDeque;

use weir_wire::id::BindingId;
use weir_wire::limits::{HISTORY_BYTES_MAX, HISTORY_EVENTS_MAX};
use weir_wire::plugin::BindingAction;

use crate::change::{BindingEvent, Bound};

/// What any event or binding takes beside its ends, names and settings.
const OVERHEAD: usize = 128;
/// What an end takes.
const END_BYTES: usize = 8;

/// The last changes of a topic's bindings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    events: VecDeque<BindingEvent>,
    bytes: usize,
}

impl History {
    /// The events, the oldest first.
    pub fn events(&self) -> impl DoubleEndedIterator<Item = &BindingEvent> {
        self.events.iter()
    }

    /// What a binding took the place of, as far as that is remembered.
    #[must_use]
    pub fn replaced_by(&self, binding: BindingId) -> Option<&Bound> {
        let made = |event: &&BindingEvent| {
            event.bound.id == binding && event.action != BindingAction::Unbound
        };
        self.events.iter().rev().find(made)?.replaced.as_ref()
    }

    /// Remembers an event. The oldest make room for it; itself it always stays.
    pub(crate) fn push(&mut self, event: BindingEvent) {
        self.bytes += bytes(&event);
        self.events.push_back(event);
        while self.events.len() > 1
            && (self.events.len() > HISTORY_EVENTS_MAX || self.bytes > HISTORY_BYTES_MAX)
        {
            let oldest = self.events.pop_front();
            self.bytes -= oldest.as_ref().map_or(0, bytes);
        }
    }
}

impl From<Vec<BindingEvent>> for History {
    fn from(events: Vec<BindingEvent>) -> Self {
        let mut history = Self::default();
        events.into_iter().for_each(|event| history.push(event));
        history
    }
}

/// What an event takes in memory, nearly; the same number whenever it is asked.
fn bytes(event: &BindingEvent) -> usize {
    let ends = event
        .ends
        .iter()
        .map(|at| OVERHEAD + END_BYTES * at.ends.len());
    let bindings = std::iter::once(&event.bound).chain(&event.replaced);
    bindings.map(bound_bytes).sum::<usize>() + ends.sum::<usize>()
}

fn bound_bytes(bound: &Bound) -> usize {
    let config = bound.config.iter();
    let config = config.map(|setting| OVERHEAD / 2 + setting.name.len() + setting.value.len());
    let routes = bound.routes.iter();
    let routes = routes.map(|route| OVERHEAD / 2 + route.value.len());
    OVERHEAD + bound.plugin.as_str().len() + config.sum::<usize>() + routes.sum::<usize>()
}
