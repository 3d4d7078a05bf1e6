//! `weir log`: look at, check and empty a data directory that no broker has open. What is looked
//! at is opened here; each verb has its file.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::oneshot;
use weir_broker::data_dir::{DataDir, DataDirError};
use weir_broker::offline::TopicNames;
use weir_log::offline::{Damage, OfflineError};
use weir_log::{Cut, DirLock, RealVfs, Vfs};
use weir_wire::id::{TopicId, TopicPartition};

use crate::exit::{Exit, Failure};
use crate::output::{self, OutputArgs};
use crate::runtime;

mod inspect;
mod progress;
mod rescue;
mod verify;

/// What can be done with a data directory.
#[derive(Debug, clap::Subcommand)]
pub enum LogVerb {
    /// Show what a data directory holds: manifests, segments, WAL files, and where the log ends
    #[command(after_help = "Examples:
  weir log inspect /var/lib/weir
  weir log inspect /var/lib/weir --output json")]
    Inspect(LogArgs),
    /// Read every byte of a data directory's log and check it
    #[command(
        after_help = "Ends with 1 if anything is damaged; each damage is printed with its \
file and byte, the partitions it concerns, and what to do.

Examples:
  weir log verify /var/lib/weir
  weir log verify /mnt/backup/weir --output json"
    )]
    Verify(LogArgs),
    /// Write all records that can still be read to a file, whatever else is damaged
    #[command(after_help = "\
The file has one record per line, as `weir consume --output json` prints it, partition by partition
in the order of offsets. Records of deleted topics are left out; those of topics whose name is lost
are under `unknown/topic-ID`. Until all of it is written, it is called FILE.incomplete. Ends with 1
if some that should be there cannot be read, or names of topics are lost. `weir produce TOPIC FILE
--format record` sends the records of one topic to a broker.

Examples:
  weir log rescue /var/lib/weir --out records.ndjson
  weir log rescue /var/lib/weir --out orders.ndjson --topic orders --partition 3")]
    Rescue(rescue::RescueArgs),
}

/// Arguments of verbs that only look.
#[derive(Debug, clap::Args)]
pub struct LogArgs {
    /// The data directory of a broker that does not run
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
}

/// Does it, unless Ctrl-C comes first.
pub async fn run(verb: LogVerb) -> Result<(), Failure> {
    let incomplete = match &verb {
        LogVerb::Rescue(args) => Some(args.incomplete()),
        LogVerb::Inspect(_) | LogVerb::Verify(_) => None,
    };
    tokio::select! {
        biased;
        () = runtime::interrupt() => Err(interrupted(incomplete)),
        result = aside(verb) => result,
    }
}

fn interrupted(incomplete: Option<PathBuf>) -> Failure {
    match incomplete.filter(|path| path.exists()) {
        None => Failure::interrupted(),
        Some(path) => Failure::new(
            Exit::Interrupted,
            format!(
                "interrupted: {path} holds a part of the records only; remove it before the next \
                 rescue",
                path = path.display()
            ),
        ),
    }
}

/// Does it on a thread of its own, so that Ctrl-C ends it at any time.
async fn aside(verb: LogVerb) -> Result<(), Failure> {
    let work = move || match verb {
        LogVerb::Inspect(args) => inspect::run(&args),
        LogVerb::Verify(args) => verify::run(&args),
        LogVerb::Rescue(args) => rescue::run(&args),
    };
    let (ended, result) = oneshot::channel();
    // Nobody listens any more when the process is ending.
    std::thread::spawn(move || ended.send(work()).ok());
    let ended_early = |_| Failure::failed("the thread that reads the log ended unexpectedly");
    result.await.map_err(ended_early)?
}

/// A data directory that is looked at; no broker can open it meanwhile.
struct Closed {
    vfs: Arc<dyn Vfs>,
    root: PathBuf,
    log: PathBuf,
    topics: TopicNames,
    /// What was found damaged on the way to their names.
    damages: Vec<Damage>,
    _lock: Option<DirLock>,
}

impl Closed {
    fn open(root: &Path) -> Result<Self, Failure> {
        let vfs: Arc<dyn Vfs> = Arc::new(RealVfs::new());
        let data = DataDir::new(root);
        check_kind(root, &data)?;
        let lock = lock(&*vfs, &data)?;
        let log = data.log();
        let read = TopicNames::read(&*vfs, &log);
        let (topics, damages) = read.map_err(|error| failure(&error))?;
        Ok(Self {
            vfs,
            root: root.to_owned(),
            log,
            topics,
            damages,
            _lock: lock,
        })
    }

    /// Whether there may be topics whose name, or all of whose partitions, cannot be read.
    const fn lacks_names(&self) -> bool {
        self.topics.is_incomplete() || !self.damages.is_empty()
    }

    /// All that is known to be damaged, with what a closer look has found.
    fn damages_with(&self, found: &[Damage]) -> Vec<Damage> {
        let mut damages = found.to_vec();
        let others = self.damages.iter().filter(|one| !found.contains(one));
        damages.extend(others.cloned());
        damages
    }

    /// A topic for programs: its name, or none if that is lost.
    fn topic_json(&self, topic: TopicId) -> Value {
        json!(self.topics.name(topic).map(ToString::to_string))
    }

    /// A topic for people.
    fn topic_text(&self, topic: TopicId) -> String {
        match self.topics.name(topic) {
            Some(name) => name.to_string(),
            None if self.topics.is_deleted(topic) => format!("topic {topic} (deleted)"),
            None => format!("topic {topic} (name unknown)"),
        }
    }

    fn partition_json(&self, at: TopicPartition) -> Value {
        json!({
            "topic": self.topic_json(at.topic),
            "topic_id": at.topic.value(),
            "partition": at.partition.value(),
        })
    }

    /// A partition for people.
    fn partition_text(&self, at: TopicPartition) -> String {
        format!("{}/{}", self.topic_text(at.topic), at.partition)
    }

    fn damage_json(&self, damage: &Damage) -> Value {
        let partitions = damage.partitions.iter();
        let partitions: Vec<_> = partitions.map(|at| self.partition_json(*at)).collect();
        json!({
            "file": damage.path.display().to_string(),
            "offset": damage.offset,
            "what": damage.what,
            "partitions": partitions,
            "advice": damage.advice,
        })
    }

    fn damages_json(&self, damages: &[Damage]) -> Value {
        damages.iter().map(|one| self.damage_json(one)).collect()
    }

    fn damage_text(&self, damage: &Damage) -> String {
        let mut partitions: Vec<_> = damage.partitions.iter().collect();
        partitions.sort_unstable();
        partitions.dedup();
        let names: Vec<_> = partitions
            .iter()
            .map(|at| self.partition_text(**at))
            .collect();
        let concerns = if names.is_empty() {
            String::new()
        } else {
            format!(" ({})", names.join(", "))
        };
        let path = damage.path.display();
        let Damage {
            offset,
            what,
            advice,
            ..
        } = damage;
        format!("{path} at byte {offset}: {what}{concerns}; {advice}")
    }
}

fn cut_json(cut: Option<&Cut>) -> Value {
    json!(cut.map(|cut| {
        json!({
            "file": cut.path.display().to_string(),
            "offset": cut.offset,
            "what": cut.what,
        })
    }))
}

fn cut_text(cut: &Cut) -> String {
    format!(
        "{} at byte {}: {}; a write that was under way when the broker ended, which its next \
         start cuts off",
        cut.path.display(),
        cut.offset,
        cut.what
    )
}

/// A directory that cannot be a broker's gets a sentence of its own.
fn check_kind(root: &Path, data: &DataDir) -> Result<(), Failure> {
    let shown = root.display();
    match std::fs::metadata(root) {
        Err(error) => Err(Failure::failed(format!("cannot read {shown}: {error}"))),
        Ok(kind) if !kind.is_dir() => Err(Failure::failed(format!(
            "{shown} is no directory; give the data directory of a broker (weir serve --data DIR)"
        ))),
        Ok(_) if data.log().is_dir() => Ok(()),
        Ok(_) if root.join("NODE").is_file() || root.join("wal").is_dir() => {
            Err(Failure::failed(format!(
                "{shown} is the log itself; give the data directory around it: {}",
                parent(root).display()
            )))
        }
        Ok(_) => Err(Failure::failed(format!(
            "{shown} is no data directory of weir: it has no folder log; give the directory that \
             the broker was started with (weir serve --data DIR)"
        ))),
    }
}

fn parent(root: &Path) -> PathBuf {
    let whole = root.canonicalize();
    let whole = whole.unwrap_or_else(|_| root.to_owned());
    whole.parent().map_or(whole.clone(), Path::to_owned)
}

/// Keeps brokers away while the directory is looked at. A copy without the lock's file belongs to
/// no broker, and on a file system that cannot be written none can run.
fn lock(vfs: &dyn Vfs, data: &DataDir) -> Result<Option<DirLock>, Failure> {
    if !data.lock_file().exists() {
        return Ok(None);
    }
    match data.lock(vfs) {
        Ok(lock) => Ok(Some(lock)),
        Err(DataDirError::InUse { path }) => Err(Failure::failed(format!(
            "the data directory {} is in use by a running broker; stop it first, or look at a \
             copy of the directory",
            path.display()
        ))),
        Err(DataDirError::File { source, .. })
            if source.kind() == io::ErrorKind::ReadOnlyFilesystem =>
        {
            Ok(None)
        }
        Err(error) => Err(Failure::of(Exit::Failed, &error)),
    }
}

fn failure(error: &OfflineError) -> Failure {
    Failure::of(Exit::Failed, error)
}

/// What the reader of a result is told besides.
fn note_damages(closed: &Closed, damages: &[Damage]) {
    for damage in damages {
        output::note(&format!("damaged: {}", closed.damage_text(damage)));
    }
}
