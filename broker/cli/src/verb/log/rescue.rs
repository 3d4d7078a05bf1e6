//! `weir log rescue`: the records that can still be read, to a file.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;
use weir_log::offline::{self, Damage, RescueReport, RescuedBatch};
use weir_wire::batch::{BatchHeader, HEADER_LEN, Records};
use weir_wire::id::{Offset, PartitionId, TopicId, TopicPartition};
use weir_wire::limits::BATCH_INFLATED_MAX;
use weir_wire::name::TopicName;
use weir_wire::placement::OrderingKey;

use super::progress::Bar;
use super::{Closed, note_damages};
use crate::exit::Failure;
use crate::failure::closest;
use crate::output::{self, OutputArgs};
use crate::record::{RecordFormat, Row};
use crate::size;

const BUFFER_BYTES: usize = 1 << 20;
/// The namespace of topics whose name is lost, and what their names there begin with.
const UNKNOWN: &str = "unknown";
const UNKNOWN_PREFIX: &str = "topic-";

/// Arguments of `log rescue`.
#[derive(Debug, clap::Args)]
pub struct RescueArgs {
    /// The data directory of a broker that does not run
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Where the records go; a file that exists already is refused
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Only records of this topic
    #[arg(long, value_name = "TOPIC")]
    topic: Option<TopicName>,
    /// Only records of this partition
    #[arg(long, value_name = "N", requires = "topic", value_parser = size::parse_count::<u32>)]
    partition: Option<u32>,
    #[command(flatten)]
    output: OutputArgs,
}

impl RescueArgs {
    /// What the file is called until everything is in it.
    pub fn incomplete(&self) -> PathBuf {
        let mut name: OsString = self.out.as_os_str().to_owned();
        name.push(".incomplete");
        name.into()
    }
}

/// Does it. What should be there and cannot be read is a failure, behind everything that can.
pub fn run(args: &RescueArgs) -> Result<(), Failure> {
    let closed = Closed::open(&args.dir)?;
    if let Some(why) = args
        .topic
        .as_ref()
        .and_then(|it| nothing_of(&closed, it, args))
    {
        note_damages(&closed, &closed.damages);
        return Err(Failure::failed(why));
    }
    let wanted = Wanted::new(&closed, args);
    let mut out = Out::create(args, &closed)?;
    let bar = Bar::spinner();
    let report = offline::rescue(
        &*closed.vfs,
        &closed.log,
        &closed.topics.partitions(),
        &|at| wanted.has(at),
        &mut |batch| {
            let topic = batch.partition.topic;
            out.has_nameless |= closed.topics.name(topic).is_none();
            out.batch(&wanted.name(topic), &batch)?;
            bar.count(out.bytes, format!("{} records", size::count(out.records)));
            Ok(())
        },
    );
    bar.finish();
    let report = report.map_err(|error| {
        let path = args.incomplete();
        let shown = path.display();
        Failure::failed(format!("{error}; {shown} holds a part of the records only"))
    })?;
    let damages = closed.damages_with(&report.damages);
    if report.batches == 0 && !is_known(&closed, args) {
        out.discard(args);
        note_damages(&closed, &damages);
        return Err(nothing_found(args));
    }
    out.finish(args)?;
    let printed = tell(args, &closed, &out, &report, &damages);
    // Nobody may read the counts: what is lost is lost all the same.
    verdict(args, &closed, &out, &report).and(printed)
}

/// Why nothing would come of a topic: that the log does not have it, or no longer, is a slip.
fn nothing_of(closed: &Closed, topic: &TopicName, args: &RescueArgs) -> Option<String> {
    let shown = topic.to_string();
    let deleted = || format!("topic {shown:?} was deleted, and its records with it");
    let known = || closed.topics.topics().filter(|(_, name)| *name == topic);
    if let Some((id, _)) = known().find(|(id, _)| !closed.topics.is_deleted(*id)) {
        return no_partition(closed, id, args.partition?);
    }
    if let Some(id) = nameless(topic) {
        // Whether there is one of that number, only its records tell.
        return closed.topics.is_deleted(id).then(deleted);
    }
    if closed.lacks_names() {
        return Some(format!(
            "names of topics may be lost, {shown:?} among them; without --topic all records \
             come, those of such topics under {UNKNOWN}/{UNKNOWN_PREFIX}ID"
        ));
    }
    if known().next().is_some() {
        return Some(deleted());
    }
    let names = closed.topics.topics().map(|(_, name)| name.to_string());
    let names: Vec<String> = names.collect();
    let meant = closest(&shown, &names).map(|meant| format!("; did you mean {meant:?}?"));
    let meant = meant.unwrap_or_default();
    Some(format!("topic {shown:?} is not in this log{meant}"))
}

/// That a partition is none of a topic. Where something is damaged it may have been added since.
fn no_partition(closed: &Closed, topic: TopicId, number: u32) -> Option<String> {
    let partitions = closed.topics.partitions();
    let count = partitions.iter().filter(|at| at.topic == topic).count();
    if closed.lacks_names() || (number as usize) < count {
        return None;
    }
    let name = closed.topic_text(topic);
    Some(format!(
        "topic {name:?} has no partition {number}; it has {count}, numbered from 0"
    ))
}

/// The topic that is called like this because its name is lost.
fn nameless(topic: &TopicName) -> Option<TopicId> {
    let number = topic.topic().strip_prefix(UNKNOWN_PREFIX)?;
    let id = number.parse().ok().map(TopicId::new);
    id.filter(|_| topic.namespace() == UNKNOWN)
}

/// Whether the log's names tell of what is asked for, so that it may well be empty.
fn is_known(closed: &Closed, args: &RescueArgs) -> bool {
    let Some(topic) = &args.topic else {
        return true;
    };
    let is_it = |at: &TopicPartition| {
        let number = at.partition.value();
        closed.topics.name(at.topic) == Some(topic) && args.partition.is_none_or(|it| it == number)
    };
    closed.topics.partitions().iter().any(is_it)
}

fn nothing_found(args: &RescueArgs) -> Failure {
    let topic = args.topic.as_ref().map(ToString::to_string);
    let partition = args
        .partition
        .map(|number| format!("partition {number} of "));
    Failure::failed(format!(
        "nothing of {}topic {:?} can be found in {}",
        partition.unwrap_or_default(),
        topic.unwrap_or_default(),
        args.dir.display()
    ))
}

fn tell(
    args: &RescueArgs,
    closed: &Closed,
    out: &Out,
    report: &RescueReport,
    damages: &[Damage],
) -> Result<(), Failure> {
    let holes = report.holes.iter().map(|(at, from, to)| {
        let mut object = closed.partition_json(*at);
        object["from"] = json!(from.value());
        object["to"] = json!(to.value());
        object
    });
    let open_ends = report.open_ends.iter().map(|(at, from)| {
        let mut object = closed.partition_json(*at);
        object["from"] = json!(from.value());
        object
    });
    let unreadable = out.unreadable.iter().map(|(at, offset, what)| {
        let mut object = closed.partition_json(*at);
        object["offset"] = json!(offset.value());
        object["what"] = json!(what);
        object
    });
    let object = json!({
        "directory": closed.root.display().to_string(),
        "out": args.out.display().to_string(),
        "batches": report.batches,
        "records": out.records,
        "bytes": out.bytes,
        "holes": holes.collect::<Vec<_>>(),
        "open_ends": open_ends.collect::<Vec<_>>(),
        "unknown": report.unknown,
        "unreadable": unreadable.collect::<Vec<_>>(),
        "damages": closed.damages_json(damages),
    });
    let text = text(args, closed, out, report);
    let printed = output::print_one(args.output.output, &object, &text);
    note_damages(closed, damages);
    printed
}

/// A failure if something is lost.
fn verdict(
    args: &RescueArgs,
    closed: &Closed,
    out: &Out,
    report: &RescueReport,
) -> Result<(), Failure> {
    let gaps = (report.holes.len() + out.unreadable.len()) as u64;
    let ends = report.open_ends.len() as u64;
    let lost = match (gaps, ends) {
        (0, 0) if !report.unknown => return names_verdict(args, closed, out),
        (0, 0) => "what nothing is known of any more".to_owned(),
        (0, _) => format!("what came last in {}", size::counted(ends, "partition")),
        (_, 0) => size::counted(gaps, "gap"),
        _ => format!(
            "{} and what came last in {}",
            size::counted(gaps, "gap"),
            size::counted(ends, "partition")
        ),
    };
    Err(Failure::failed(format!(
        "{lost} in the records of {} cannot be read; everything else is in {}",
        args.dir.display(),
        args.out.display()
    )))
}

/// A failure if records came out whose topics have lost their names, or may have.
fn names_verdict(args: &RescueArgs, closed: &Closed, out: &Out) -> Result<(), Failure> {
    // A topic that was asked for by its name has one.
    if !out.has_nameless && (!closed.topics.is_incomplete() || args.topic.is_some()) {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "names of topics are lost: their records are under {UNKNOWN}/{UNKNOWN_PREFIX}ID in {}",
        args.out.display()
    )))
}

/// What came out, for people.
fn text(args: &RescueArgs, closed: &Closed, out: &Out, report: &RescueReport) -> String {
    let mut text = format!(
        "{} records of {} batches are in {}\n",
        size::count(out.records),
        size::count(report.batches),
        args.out.display()
    );
    let mut line = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    for (at, from, to) in &report.holes {
        let at = closed.partition_text(*at);
        line(format!("lost: {at} offsets {from} to {to} (not included)"));
    }
    for (at, offset, what) in &out.unreadable {
        let at = closed.partition_text(*at);
        line(format!("lost: {at} the batch at offset {offset}: {what}"));
    }
    for (at, from) in &report.open_ends {
        let at = closed.partition_text(*at);
        line(format!(
            "perhaps lost: {at} offsets {from} up to an unknown end"
        ));
    }
    if report.unknown {
        line(
            "perhaps lost: topics and partitions that only the missing part of the log told of"
                .to_owned(),
        );
    }
    text
}

/// Which records are wanted, and what their topics are called.
struct Wanted<'a> {
    closed: &'a Closed,
    topic: Option<&'a TopicName>,
    partition: Option<PartitionId>,
    /// Names of topics that no name is known of.
    unknown: RefCell<BTreeMap<TopicId, TopicName>>,
}

impl<'a> Wanted<'a> {
    fn new(closed: &'a Closed, args: &'a RescueArgs) -> Self {
        Self {
            closed,
            topic: args.topic.as_ref(),
            partition: args.partition.map(PartitionId::new),
            unknown: RefCell::default(),
        }
    }

    fn has(&self, at: TopicPartition) -> bool {
        if self.closed.topics.is_deleted(at.topic)
            || self.partition.is_some_and(|one| at.partition != one)
        {
            return false;
        }
        self.topic.is_none_or(|topic| self.name(at.topic) == *topic)
    }

    fn name(&self, topic: TopicId) -> TopicName {
        if let Some(name) = self.closed.topics.name(topic) {
            return name.clone();
        }
        let mut unknown = self.unknown.borrow_mut();
        let name = unknown.entry(topic).or_insert_with(|| {
            let name = format!("{UNKNOWN}/{UNKNOWN_PREFIX}{}", topic.value());
            name.parse().expect("it has letters, digits and a dash")
        });
        name.clone()
    }
}

/// The file that records go to.
struct Out {
    file: BufWriter<File>,
    records: u64,
    bytes: u64,
    /// Whether there are records among them of topics that no name is known of.
    has_nameless: bool,
    /// Batches whose bytes are sound and say nothing that can be understood.
    unreadable: Vec<(TopicPartition, Offset, String)>,
}

impl Out {
    fn create(args: &RescueArgs, closed: &Closed) -> Result<Self, Failure> {
        let shown = args.out.display();
        let failed = |error: &io::Error| Failure::failed(format!("cannot write {shown}: {error}"));
        let folder = match args.out.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let folder = folder.canonicalize().map_err(|error| failed(&error))?;
        let root = closed.root.canonicalize().map_err(|error| failed(&error))?;
        if folder.starts_with(&root) {
            return Err(Failure::usage(format!(
                "{shown} is inside of the data directory, which is left as it is; choose another \
                 --out"
            )));
        }
        check_free(&args.out)?;
        let path = args.incomplete();
        let mut options = OpenOptions::new();
        // Records may be secret: for the owner only.
        let file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => Failure::failed(format!(
                    "{} is left from a rescue that did not come to its end; remove it, or choose \
                     another --out",
                    path.display()
                )),
                _ => failed(&error),
            })?;
        Ok(Self {
            file: BufWriter::with_capacity(BUFFER_BYTES, file),
            records: 0,
            bytes: 0,
            has_nameless: false,
            unreadable: Vec::new(),
        })
    }

    fn batch(&mut self, topic: &TopicName, rescued: &RescuedBatch) -> io::Result<()> {
        self.bytes += rescued.batch.bytes.len() as u64;
        match self.records_of(topic, rescued) {
            Ok(written) => written,
            Err(what) => {
                self.unreadable
                    .push((rescued.partition, rescued.from, what));
                Ok(())
            }
        }
    }

    /// Writes the records of a batch that count; the outer error is the batch's.
    fn records_of(
        &mut self,
        topic: &TopicName,
        rescued: &RescuedBatch,
    ) -> Result<io::Result<()>, String> {
        let stored = &rescued.batch;
        let header = BatchHeader::parse(&stored.bytes).map_err(|error| error.to_string())?;
        let section = stored.bytes.get(HEADER_LEN..).unwrap_or_default();
        let section = header.compression.inflate(section, BATCH_INFLATED_MAX);
        let section = section.map_err(|error| error.to_string())?;
        let keys = stored.columns.ordering_keys.as_deref().unwrap_or_default();
        for (index, view) in Records::new(&section, header.count).enumerate() {
            let view = view.map_err(|error| error.to_string())?;
            let offset = stored.base_offset.advance(view.offset_delta);
            if !(rescued.from..rescued.to).contains(&offset) {
                continue;
            }
            let row = Row {
                topic,
                partition: rescued.partition.partition,
                offset,
                append_time: stored.append_time,
                timestamp: view.timestamp(header.base_timestamp),
                key: view.key,
                ordering_key: ordering_key(keys, index),
                headers: view.headers().collect(),
                value: view.value,
            };
            if let Err(error) = RecordFormat::Json.write(&row, None, &mut self.file) {
                return Ok(Err(error));
            }
            self.records += 1;
        }
        Ok(Ok(()))
    }

    /// Nothing came: nothing is left behind.
    fn discard(self, args: &RescueArgs) {
        drop(self.file);
        // If it cannot be removed it is empty, and its name says that it is no result.
        std::fs::remove_file(args.incomplete()).ok();
    }

    /// Everything is written: the file gets its name.
    fn finish(&mut self, args: &RescueArgs) -> Result<(), Failure> {
        let shown = args.out.display();
        let written = self.file.flush();
        let written = written.and_then(|()| self.file.get_ref().sync_all());
        written.map_err(|error| Failure::failed(format!("cannot write {shown}: {error}")))?;
        let incomplete = args.incomplete();
        let named = match args.out.symlink_metadata() {
            Ok(_) => Err("it exists by now and is not overwritten".to_owned()),
            Err(_) => std::fs::rename(&incomplete, &args.out).map_err(|error| error.to_string()),
        };
        named.map_err(|what| {
            Failure::failed(format!(
                "cannot make {shown}: {what}; {} holds everything, give it another name",
                incomplete.display()
            ))
        })
    }
}

/// Nothing is overwritten.
fn check_free(path: &Path) -> Result<(), Failure> {
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "{} exists already and is not overwritten; choose another --out, or remove it",
        path.display()
    )))
}

fn ordering_key(keys: &[u8], index: usize) -> OrderingKey {
    let stored = keys.as_chunks().0.get(index);
    stored.map_or(OrderingKey::NONE, |bytes| {
        OrderingKey::from_stored(u64::from_le_bytes(*bytes))
    })
}
