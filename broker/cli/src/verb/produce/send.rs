//! The sending: lines in, tickets in their order, outcomes counted as they come.

use std::time::Duration;

use tokio::time::Instant;
use weir_sdk::{Client, Producer, PublishError, Record, SendError};
use weir_wire::error::{ErrorCode, Fault};

use super::again::{self, Stopped};
use super::bad::BadLines;
use super::pace::Pace;
use super::tally::{Tally, by_line};
use super::waiting::{Settled, Waiting};
use super::watch::watch;
use crate::bar::Bar;
use crate::exit::{Exit, Failure};
use crate::failure::if_deleted;
use crate::input::{Chunks, InputRecord, Item, Line, LineNumber};
use crate::output::{self, Format};
use crate::{environment, runtime, size};

/// The header that is the tag.
const TAG: &str = "tag";

/// What every record gets beside what its line says.
#[derive(Clone, Debug)]
pub struct Dressing {
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// The tag.
    pub tag: Option<String>,
    /// Whether no reply is asked for.
    pub one_way: bool,
}

impl Dressing {
    fn dress(&self, input: InputRecord) -> Record {
        let mut record = match (input.value, input.key) {
            (Some(value), None) => Record::new(value),
            (Some(value), Some(key)) => Record::new(value).key(key),
            (None, key) => Record::tombstone(key.unwrap_or_default()),
        };
        let has_tag = input.headers.iter().any(|(name, _)| name == TAG);
        for (name, value) in input.headers {
            record = record.header(name, value);
        }
        for (name, value) in &self.headers {
            record = record.header(name.clone(), value.clone());
        }
        let tag = input.tag.or_else(|| self.tag.clone().map(Into::into));
        // A record as weir prints it brings its tag among its headers.
        if let Some(tag) = tag.filter(|_| !has_tag) {
            record = record.tag(tag);
        }
        match input.timestamp {
            Some(timestamp) => record.timestamp(timestamp),
            None => record,
        }
    }
}

/// What a run is made of.
#[derive(Debug)]
pub struct Setup {
    /// The broker.
    pub client: Client,
    /// Where the records go.
    pub producer: Producer,
    /// The lines.
    pub chunks: Chunks,
    /// Lines that an earlier run dealt with.
    pub skip: LineNumber,
    /// The last line that is wanted, with `--limit`.
    pub last: Option<LineNumber>,
    /// What every record gets.
    pub dressing: Dressing,
    /// What happens to bad lines.
    pub bad: BadLines,
    /// How fast to send.
    pub pace: Pace,
    /// What the user sees meanwhile.
    pub bar: Bar,
}

/// A run of `produce`.
#[derive(Debug)]
pub struct Sending {
    client: Client,
    producer: Producer,
    chunks: Chunks,
    dressing: Dressing,
    bad: BadLines,
    pace: Pace,
    bar: Bar,
    tally: Tally,
    waiting: Waiting,
    skip: LineNumber,
    last: Option<LineNumber>,
    /// The last line that was taken up.
    sent: LineNumber,
    started: Instant,
}

impl Sending {
    /// A run that has not begun.
    pub fn new(setup: Setup) -> Self {
        Self {
            client: setup.client,
            producer: setup.producer,
            chunks: setup.chunks,
            dressing: setup.dressing,
            bad: setup.bad,
            pace: setup.pace,
            bar: setup.bar,
            tally: Tally::new(setup.skip),
            waiting: Waiting::default(),
            skip: setup.skip,
            last: setup.last,
            sent: setup.skip,
            started: Instant::now(),
        }
    }

    /// Sends everything, waits for every outcome, prints the counts.
    pub async fn run(mut self, format: Format) -> Result<(), Failure> {
        let watch = tokio::spawn(watch(self.producer.clone()));
        let fed = tokio::select! {
            biased;
            () = runtime::interrupt() => Err(Failure::interrupted().into()),
            fed = self.feed() => fed,
        };
        if fed
            .as_ref()
            .is_err_and(|end| end.failure.exit() == Exit::Interrupted)
        {
            output::note("waiting for what was sent; Ctrl-C again ends at once");
        }
        // From here on Ctrl-C means it: nothing is left to do but to wait.
        let impatient = tokio::spawn(async {
            runtime::interrupt().await;
            runtime::close_connections().await;
            std::process::exit(Exit::Interrupted as i32);
        });
        let settled = self.settle_all().await;
        let more = fed.is_err();
        let sent = match fed.and(settled) {
            Ok(()) => Ok(()),
            Err(end) => Err(self.explained(end).await),
        };
        impatient.abort();
        watch.abort();
        let kept = self.bad.finish();
        self.bar.finish();
        // Nobody may read the counts: what became of the records counts all the same.
        let printed = self.report(format);
        sent.inspect_err(|unsent| {
            if unsent.is_worth_going_on {
                self.say_how_to_go_on(more);
            }
        })
        .map_err(|unsent| unsent.failure)
        .and(kept)
        .and_then(|()| self.verdict())
        .and(printed)
    }

    /// A failure if not every record is where the user wanted it.
    fn verdict(&self) -> Result<(), Failure> {
        match self.tally.failed() {
            0 => Ok(()),
            1 => Err(Failure::failed(
                "1 record was not stored; the reason stands with the counts",
            )),
            count => Err(Failure::failed(format!(
                "{} records were not stored; the reasons stand with the counts",
                size::count(count)
            ))),
        }
    }

    fn say_how_to_go_on(&self, more: bool) {
        let stopped = Stopped {
            skipped: self.skip,
            known: self.tally.known(),
            reached: self.tally.reached(),
            open: self.tally.open(),
            last: self.last,
            more,
        };
        for note in again::notes(&environment::arguments(), &stopped) {
            output::note(&note);
        }
    }

    /// The failure with the line that it is about, and the code for a broker that is away. That
    /// the topic is gone, only the broker can tell.
    async fn explained(&self, end: End) -> Unsent {
        let End { failure, sending } = end;
        let failure = match self.tally.guilty_of(&failure.to_string()) {
            Some(line) => failure.at(format_args!("line {line}")),
            None => failure,
        };
        let unsent = |failure| Unsent {
            failure,
            is_worth_going_on: true,
        };
        // What is wrong with the input is wrong whatever became of the topic.
        if !sending || failure.exit() != Exit::Failed {
            return unsent(failure);
        }
        if self.producer.stall().is_some_and(|stall| stall.away) {
            return unsent(failure.with_exit(Exit::Unreachable));
        }
        let (topic, id) = (self.producer.topic(), self.producer.topic_id());
        match if_deleted(&self.client, topic, id).await {
            Some(failure) => Unsent {
                failure,
                is_worth_going_on: false,
            },
            None => unsent(failure),
        }
    }

    /// Reads and sends to the end of the input; ends early at the first request that failed.
    async fn feed(&mut self) -> Result<(), End> {
        loop {
            let chunk = tokio::select! {
                biased;
                chunk = self.chunks.recv() => chunk,
                settled = self.waiting.pop() => {
                    self.count(settled)?;
                    continue;
                }
            };
            let Some(chunk) = chunk else {
                return Ok(());
            };
            let lines = chunk.map_err(|error| End::from(Failure::of(Exit::Failed, &error)))?;
            for line in lines {
                if self.last.is_some_and(|last| line.number > last) {
                    return Ok(());
                }
                self.send(line).await?;
            }
            if self.last.is_some_and(|last| self.sent >= last) {
                return Ok(());
            }
            self.settle_ready()?;
            self.bar.update(self.tally.records);
        }
    }

    async fn send(&mut self, line: Line) -> Result<(), End> {
        let number = line.number;
        self.sent = number;
        let input = match line.item {
            Item::Record(input) => input,
            Item::Blank => {
                self.tally.blank += 1;
                self.waiting.passed(number);
                return Ok(());
            }
            Item::Bad { line, reason } => {
                self.bad.take(number, &line, &reason)?;
                self.waiting.passed(number);
                return Ok(());
            }
        };
        self.pace.turn().await;
        let parts = [&input.key, &input.value].into_iter().flatten();
        let bytes: usize = parts.map(bytes::Bytes::len).sum();
        let record = self.dressing.dress(input);
        let sent = if self.dressing.one_way {
            self.producer.send_one_way(record).await.map(|()| None)
        } else {
            self.producer.send(record).await.map(Some)
        };
        match sent {
            Ok(Some(ticket)) => self.waiting.sent(number, ticket),
            Ok(None) => {
                self.tally.records += 1;
                self.waiting.passed(number);
            }
            Err(error) => return Err(self.refused_to_send(number, error)),
        }
        self.tally.bytes += bytes as u64;
        Ok(())
    }

    /// The producer has ended, or the record does not fit: what its tickets say comes first.
    fn refused_to_send(&mut self, number: LineNumber, error: SendError) -> End {
        let end = self.settle_ready().err();
        let end = end.unwrap_or_else(|| match &error {
            SendError::TooLarge { .. } => Failure::failed(format!("line {number}: {error}")).into(),
            _ => End::sending(PublishError::Send(error.clone()).into()),
        });
        self.bar.update(self.tally.records);
        end
    }

    /// Counts the outcomes that are there, without waiting.
    fn settle_ready(&mut self) -> Result<(), End> {
        while let Some(settled) = self.waiting.pop_ready() {
            self.count(settled)?;
        }
        Ok(())
    }

    /// Waits for all outcomes; the first failure among them counts.
    async fn settle_all(&mut self) -> Result<(), End> {
        let closed = self.producer.close().await;
        let mut result = Ok(());
        while !self.waiting.is_empty() {
            let settled = self.waiting.pop().await;
            result = result.and(self.count(settled));
        }
        if self.dressing.one_way {
            let outcomes = self.producer.stats().outcomes;
            self.tally.one_way = outcomes.one_way;
            self.tally.maybe_lost = outcomes.maybe_lost;
            let failed = |error| End::sending(Failure::of(Exit::Failed, &error));
            result = result.and(closed.map(drop).map_err(failed));
        }
        result
    }

    fn count(&mut self, (line, outcome): Settled) -> Result<(), End> {
        match outcome {
            None => {
                self.tally.settled(line);
                Ok(())
            }
            Some(fate) => {
                self.tally.add(line, &fate);
                let (position, outcome) = fate;
                // Every record of an answered request has its ticket here by now.
                let next = self.waiting.next_position();
                let is_alone = position == 0 && next.is_none_or(|position| position == 0);
                outcome
                    .map(drop)
                    .map_err(|error| End::sending(refusal(error, line, is_alone)))
            }
        }
    }

    fn report(&self, format: Format) -> Result<(), Failure> {
        let took: Duration = self.started.elapsed();
        let bad = self.bad.count();
        let object = self.tally.json(self.producer.topic(), bad, took);
        output::print_one(format, &object, &self.tally.text(bad, took))
    }
}

/// Why a run ended early.
struct End {
    failure: Failure,
    /// Whether it came of what was sent, not of what was to be sent.
    sending: bool,
}

impl End {
    const fn sending(failure: Failure) -> Self {
        Self {
            failure,
            sending: true,
        }
    }
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            sending: false,
        }
    }
}

/// What is said of it, and whether there is a point in going on.
struct Unsent {
    failure: Failure,
    is_worth_going_on: bool,
}

/// A failure of a request, with what helps where anything does; `is_alone` says that the request
/// had this one record.
fn refusal(error: PublishError, line: LineNumber, is_alone: bool) -> Failure {
    let is_too_large = |fault: &Fault| fault.code == ErrorCode::BatchTooLarge;
    if !error.fault().is_some_and(is_too_large) {
        return by_line(error).into();
    }
    if is_alone {
        return Failure::failed(format!(
            "line {line} is too large for this broker's log (wal_file_bytes), with whatever \
             plugins make of it; split it, or have that raised"
        ));
    }
    Failure::failed(format!("{error} (--batch-bytes, such as 256KiB)"))
}
