//! A producer: sends requests one behind the other without waiting, and sends what was not
//! answered again, for as long as it takes.

use std::collections::VecDeque;

use bytes::Bytes;
use rand::Rng;
use rand::rngs::SmallRng;
use weir_core::shard::Session;
use weir_wire::batch::Compression;
use weir_wire::id::{Sequence, Timestamp, TopicId};
use weir_wire::message::Message as _;
use weir_wire::produce::{Produced, RecordOutcome};

use crate::history::{Answer, Content, History, Place, Problem, RequestId};
use crate::network::{Link, Message, Reply};
use crate::record;

/// Requests that a producer leaves unanswered at most.
const WINDOW: usize = 6;

/// A producer.
#[derive(Debug)]
pub(crate) struct Producer {
    pub(crate) number: u32,
    pub(crate) link: Link,
    /// Which of the topics it writes to.
    topic: usize,
    session: Option<(Session, TopicId)>,
    /// Whether it asked for a session on this link.
    opening: bool,
    next_sequence: Sequence,
    next_number: u32,
    unanswered: VecDeque<Unanswered>,
}

#[derive(Debug)]
struct Unanswered {
    sequence: Sequence,
    id: RequestId,
    batch: Bytes,
    records: usize,
    sent: bool,
}

impl Producer {
    pub(crate) fn new(number: u32, topic: usize) -> Self {
        Self {
            number,
            link: Link::default(),
            topic,
            session: None,
            opening: false,
            next_sequence: Sequence::default(),
            next_number: 0,
            unanswered: VecDeque::new(),
        }
    }

    /// Whether nothing is left to be answered.
    pub(crate) fn is_done(&self) -> bool {
        self.unanswered.is_empty()
    }

    /// The connection is gone, and a new one is there. Answers what was on its way.
    pub(crate) fn reconnect(&mut self) -> VecDeque<Message> {
        let strays = self.link.break_off();
        self.opening = false;
        for request in &mut self.unanswered {
            request.sent = false;
        }
        strays
    }

    /// Sends what comes next: an unanswered request again, else a new one, if it may.
    pub(crate) fn send(
        &mut self,
        random: &mut SmallRng,
        now: Timestamp,
        may_begin: bool,
        history: &mut History,
    ) -> Option<String> {
        let Some((session, topic)) = self.session else {
            if self.opening || !may_begin {
                return None;
            }
            self.opening = true;
            self.link.to_broker.push_back(Message::Open(self.topic));
            return Some(format!("asks for a session of topic {}", self.topic));
        };
        let again = self.unanswered.iter().position(|request| !request.sent);
        let index = match again {
            Some(index) => index,
            None if may_begin && self.unanswered.len() < WINDOW => {
                self.begin(random, now, topic, history);
                self.unanswered.len() - 1
            }
            None => return None,
        };
        let request = self.unanswered.get_mut(index)?;
        request.sent = true;
        self.link.to_broker.push_back(Message::Produce {
            session,
            sequence: request.sequence,
            batch: request.batch.clone(),
        });
        let (id, records) = (request.id, request.records);
        Some(format!(
            "sends {id} as {}, {records} records",
            request.sequence
        ))
    }

    /// Takes in a reply.
    pub(crate) fn receive(&mut self, history: &mut History) -> Option<String> {
        match self.link.to_client.pop_front()? {
            Reply::Opened(session, topic) => {
                self.opening = false;
                self.session = Some((session, topic));
                self.next_sequence = Sequence::default();
                Some(format!("is producer {}", session.producer))
            }
            Reply::NotOpened => {
                self.opening = false;
                Some("hears that there is no such topic".to_owned())
            }
            Reply::Outcome(sequence, bytes) => Some(self.answer(sequence, &bytes, history)),
            Reply::Again(from) => {
                if let Some(oldest) = self.unanswered.front()
                    && from < oldest.sequence
                {
                    let text = format!(
                        "producer {} is asked for request {from} again, which was answered",
                        self.number
                    );
                    history.note(Problem::Broken(text));
                }
                self.reconnect();
                Some(format!("has to begin at {from} again"))
            }
            Reply::Unknown(sequence) => {
                // What was under way may be stored or not; nobody will ever say.
                self.session = None;
                self.unanswered.clear();
                self.reconnect();
                Some(format!("hears at {sequence} that its session is unknown"))
            }
        }
    }

    fn answer(&mut self, sequence: Sequence, bytes: &[u8], history: &mut History) -> String {
        let index = self.unanswered.iter().position(|r| r.sequence == sequence);
        let Some(index) = index else {
            return format!("hears of {sequence} once more");
        };
        let request = self.unanswered.remove(index).expect("it was found there");
        let answer = Produced::decode(bytes)
            .map_err(|error| error.to_string())
            .and_then(|produced| places(&produced, request.records));
        match answer {
            Ok(answer) => {
                let text = format!("has an answer to {}: {}", request.id, brief(&answer));
                history.answered(request.id, answer);
                text
            }
            Err(error) => {
                let text = format!("the answer to {} is none: {error}", request.id);
                history.note(Problem::Broken(text.clone()));
                text
            }
        }
    }

    fn begin(
        &mut self,
        random: &mut SmallRng,
        now: Timestamp,
        topic: TopicId,
        history: &mut History,
    ) {
        let id = RequestId {
            producer: self.number,
            number: self.next_number,
        };
        self.next_number += 1;
        let count = random.random_range(1..6);
        let mut contents: Vec<Content> = (0..count).map(|_| self.content(random)).collect();
        if random.random_ratio(1, 25) {
            // Large enough for pages of its own; several would not fit an entry.
            contents.truncate(2);
            contents[0].size = Some(random.random_range(16_000..20_000));
        }
        let compression = if random.random_ratio(1, 4) {
            Compression::Lz4
        } else {
            Compression::None
        };
        let batch = record::batch(id, &contents, now, compression);
        let records = contents.len();
        history.sent(id, topic, contents);
        self.unanswered.push_back(Unanswered {
            sequence: self.next_sequence,
            id,
            batch: batch.into(),
            records,
            sent: false,
        });
        self.next_sequence = self.next_sequence.next();
    }

    fn content(&self, random: &mut SmallRng) -> Content {
        let key = random.random_ratio(4, 5).then(|| {
            let key = random.random_range(0..4);
            format!("key-{}-{key}", self.number)
        });
        let size = match random.random_range(0..8) {
            0 => random.random_range(1_000..3_000),
            _ => random.random_range(0..1_200),
        };
        let tombstone = key.is_some() && random.random_ratio(1, 20);
        Content {
            key,
            size: (!tombstone).then_some(size),
        }
    }
}

fn places(produced: &Produced, records: usize) -> Result<Answer, String> {
    let Some(outcome) = &produced.outcome else {
        return Ok(Answer::Refused);
    };
    let count = u32::try_from(records).map_err(|error| error.to_string())?;
    let outcomes = outcome.records(count).map_err(|error| error.to_string())?;
    let mut stored = Vec::new();
    for outcome in outcomes {
        match outcome {
            RecordOutcome::Stored(places) => match places.as_slice() {
                [(destination, offset)] => stored.push(Place {
                    at: weir_wire::id::TopicPartition {
                        topic: destination.topic,
                        partition: destination.partition,
                    },
                    offset: *offset,
                }),
                _ => return Err(format!("a record has {} places", places.len())),
            },
            RecordOutcome::Refused(refusal) => return Err(refusal.reason.clone()),
        }
    }
    Ok(Answer::Stored(stored))
}

fn brief(answer: &Answer) -> String {
    match answer {
        Answer::Refused => "refused".to_owned(),
        Answer::Stored(places) => {
            let places: Vec<String> = places.iter().map(ToString::to_string).collect();
            places.join(" ")
        }
    }
}
