//! Dedup: every request runs once, every repetition within the window hears the same outcome.

use std::collections::HashMap;

use bytes::Bytes;
use proptest::prelude::{Just, Strategy, proptest};
use proptest::{collection, prop_oneof};
use weir_core::dedup::{Admission, FlightId, ProducerState};
use weir_wire::id::Sequence;
use weir_wire::limits::PRODUCER_IN_FLIGHT_MAX;

/// Who waits, by number.
type Waiter = usize;

#[derive(Clone, Debug)]
enum Step {
    /// The client sends the request that lies so far from the next new one.
    Send(i64),
    /// It sends that many new ones.
    Burst(usize),
    /// The log has that many of the oldest flights.
    Complete(usize),
    /// A flight fails, any that ever was, counted from the newest.
    Fail(usize),
    /// A flight is answered early.
    Early(usize),
    /// The broker starts again.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (-4_i64..=2).prop_map(Step::Send),
        1 => (-300_i64..=0).prop_map(Step::Send),
        3 => (1_usize..140).prop_map(Step::Burst),
        4 => (1_usize..140).prop_map(Step::Complete),
        2 => (0_usize..200).prop_map(Step::Fail),
        1 => (0_usize..10).prop_map(Step::Early),
        1 => Just(Step::Restart),
    ]
}

/// Remembers everything, and finds it by looking at all of it.
#[derive(Default)]
struct Model {
    /// Outcomes of all requests, from the first on; a request runs once, so it has one.
    done: Vec<Bytes>,
    /// What is under way, in order.
    flying: Vec<(FlightId, Vec<Waiter>)>,
    /// All flights that ever were.
    flights: Vec<FlightId>,
    answers: HashMap<Waiter, usize>,
    waiters: usize,
}

struct Harness {
    state: ProducerState<Waiter>,
    model: Model,
}

impl Harness {
    fn new() -> Self {
        Self {
            state: ProducerState::default(),
            model: Model::default(),
        }
    }

    fn run(&mut self, step: &Step) {
        let done = self.model.done.len();
        match *step {
            Step::Send(distance) => {
                let next = (done + self.model.flying.len()) as i64;
                self.send((next + distance).max(0) as u64);
            }
            Step::Burst(count) => {
                (0..count).for_each(|_| self.send(self.state.next().value()));
            }
            Step::Complete(count) => {
                let count = count.min(self.model.flying.len());
                (0..count).for_each(|_| self.complete());
            }
            Step::Fail(back) => self.fail(back),
            Step::Early(index) => {
                let Some((flight, waiters)) = self.model.flying.get_mut(index) else {
                    return;
                };
                let expected = std::mem::take(waiters);
                let early = self.state.take_waiters(flight.sequence());
                assert_eq!(early, expected);
                self.answered(&early);
            }
            Step::Restart => self.restart(),
        }
        assert_eq!(
            self.state.done_before().value() as usize,
            self.model.done.len()
        );
        assert_eq!(self.state.is_idle(), self.model.flying.is_empty());
        for flight in &self.model.flights {
            let current = self.model.flying.iter().any(|(other, _)| other == flight);
            assert_eq!(self.state.is_current(*flight), current);
        }
    }

    fn send(&mut self, sequence: u64) {
        let waiter = self.model.waiters;
        self.model.waiters += 1;
        let (done, flying) = (self.model.done.len(), self.model.flying.len());
        let request = Sequence::new(sequence);
        let index = sequence as usize;
        match self.state.admit(request, waiter) {
            Admission::New(flight) => {
                assert_eq!(index, done + flying);
                assert!(flying < PRODUCER_IN_FLIGHT_MAX);
                assert_eq!(flight.sequence(), request);
                assert!(
                    !self.model.flights.contains(&flight),
                    "each flight is another one"
                );
                self.model.flights.push(flight);
                self.model.flying.push((flight, vec![waiter]));
            }
            Admission::InFlight => {
                self.model.flying[index.checked_sub(done).unwrap()]
                    .1
                    .push(waiter);
            }
            Admission::Known(who, outcome) => {
                assert_eq!((who, &outcome), (waiter, &self.model.done[index]));
                self.answered(&[waiter]);
            }
            Admission::Forgotten(who) => {
                assert_eq!(who, waiter);
                assert!(
                    index + PRODUCER_IN_FLIGHT_MAX < done,
                    "the window is kept whole"
                );
                self.answered(&[waiter]);
            }
            Admission::OutOfSequence(who, next) => {
                assert_eq!((who, next.value() as usize), (waiter, done + flying));
                assert!(index > done + flying);
                self.answered(&[waiter]);
            }
            Admission::TooMany(who) => {
                assert_eq!((who, flying), (waiter, PRODUCER_IN_FLIGHT_MAX));
                assert_eq!(index, done + flying);
                self.answered(&[waiter]);
            }
        }
    }

    /// The oldest flight has an outcome that no other run of it would have.
    fn complete(&mut self) {
        let (flight, waiters) = self.model.flying.remove(0);
        let run = self
            .model
            .flights
            .iter()
            .position(|it| *it == flight)
            .unwrap();
        let outcome = Bytes::from(format!("outcome of run {run}"));
        assert_eq!(flight.sequence().value() as usize, self.model.done.len());
        self.model.done.push(outcome.clone());
        let answered = self.state.complete(flight.sequence(), outcome);
        assert_eq!(answered, waiters);
        self.answered(&answered);
    }

    /// A flight fails; if it had failed before, nobody else is hurt.
    fn fail(&mut self, back: usize) {
        let Some(index) = self.model.flights.len().checked_sub(back + 1) else {
            return;
        };
        let flight = self.model.flights[index];
        let at = self.model.flying.iter().position(|(it, _)| *it == flight);
        let expected = at.map_or_else(Vec::new, |at| self.model.flying.split_off(at));
        let failed = self.state.fail_from(flight);
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(flight, waiters)| (flight.sequence(), waiters))
            .collect();
        assert_eq!(failed, expected);
        failed
            .iter()
            .for_each(|(_, waiters)| self.answered(waiters));
    }

    /// What was under way is gone, what is in the log comes back.
    fn restart(&mut self) {
        self.state = ProducerState::default();
        for (sequence, outcome) in self.model.done.iter().enumerate() {
            let sequence = Sequence::new(sequence as u64);
            self.state.replay(sequence, outcome.clone());
        }
        self.model.flights.clear();
        let lost = std::mem::take(&mut self.model.flying);
        lost.iter().for_each(|(_, waiters)| self.answered(waiters));
    }

    fn answered(&mut self, waiters: &[Waiter]) {
        for waiter in waiters {
            *self.model.answers.entry(*waiter).or_default() += 1;
        }
    }

    /// In the end everybody was answered, once.
    fn finish(mut self) {
        (0..self.model.flying.len()).for_each(|_| self.complete());
        assert!(self.state.is_idle());
        let answers = &self.model.answers;
        assert_eq!(answers.len(), self.model.waiters);
        assert!(answers.values().all(|times| *times == 1));
    }
}

proptest! {
    #[test]
    fn dedup_agrees_with_a_model_that_remembers_everything(
        steps in collection::vec(step(), 1..60),
    ) {
        let mut harness = Harness::new();
        steps.iter().for_each(|step| harness.run(step));
        harness.finish();
    }
}

#[test]
fn what_is_left_of_a_failed_flight_does_not_hurt_the_next_one() {
    let mut state = ProducerState::default();
    let Admission::New(first) = state.admit(Sequence::new(0), "first") else {
        panic!("it is new");
    };
    assert_eq!(state.fail_from(first), [(Sequence::new(0), vec!["first"])]);
    let Admission::New(second) = state.admit(Sequence::new(0), "second") else {
        panic!("it is new again");
    };
    // The first flight is still somewhere in the broker, and fails once more.
    assert_eq!(state.fail_from(first), []);
    assert!(!state.is_current(first) && state.is_current(second));
    assert_eq!(state.complete(Sequence::new(0), Bytes::new()), ["second"]);
    assert_eq!(state.fail_from(second), [], "what is done does not fail");
}

#[test]
fn a_session_may_begin_anywhere() {
    let mut state = ProducerState::starting_at(Sequence::new(40));
    assert_eq!(state.admit(Sequence::new(39), ()), Admission::Forgotten(()));
    let early = Admission::OutOfSequence((), Sequence::new(40));
    assert_eq!(state.admit(Sequence::new(41), ()), early);
    // The log's requests of a session whose beginning was trimmed away.
    state.replay(Sequence::new(40), Bytes::from_static(b"forty"));
    state.replay(Sequence::new(60), Bytes::from_static(b"sixty"));
    assert_eq!(state.next(), Sequence::new(61));
    let known = Admission::Known((), Bytes::from_static(b"sixty"));
    assert_eq!(state.admit(Sequence::new(60), ()), known);
    for forgotten in [40, 41, 59] {
        let admission = state.admit(Sequence::new(forgotten), ());
        assert_eq!(admission, Admission::Forgotten(()));
    }
}

#[test]
#[should_panic(expected = "requests of a producer end in their order")]
fn a_request_cannot_end_before_the_one_before_it() {
    let mut state = ProducerState::default();
    state.admit(Sequence::new(0), ());
    state.admit(Sequence::new(1), ());
    state.complete(Sequence::new(1), Bytes::new());
}
