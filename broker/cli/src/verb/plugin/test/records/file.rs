//! Records of a file, cut as `weir produce` cuts them.

use std::path::Path;

use weir_wire::batch::NewRecord;
use weir_wire::id::Timestamp;

use super::{Assembly, Batch, Place};
use crate::exit::{Exit, Failure};
use crate::input::read_in_background;
use crate::input::{Chunks, Item, Line, LineArgs, LineNumber, Progress, Source};
use crate::time;

/// What a header that tags a record is called.
const TAG: &str = "tag";

/// The lines of a file as records.
#[derive(Debug)]
pub struct FileRecords {
    chunks: Chunks,
    /// Lines of the chunk that is being read.
    lines: std::vec::IntoIter<Line>,
    headers: Vec<(String, String)>,
    tag: Option<String>,
    /// When the test began: the time of records that have none of their own.
    timestamp: Timestamp,
    progress: Progress,
    assembly: Assembly,
}

impl FileRecords {
    /// Opens it.
    pub fn open(path: &Path, args: &LineArgs, limit: Option<u64>) -> Result<Self, Failure> {
        let rules = args.rules(path)?;
        let source = Source::open(path)
            .map_err(|error| Failure::failed(format!("cannot read {}: {error}", path.display())))?;
        Ok(Self {
            progress: source.progress.clone(),
            chunks: read_in_background(source, rules, LineNumber::default()),
            lines: Vec::new().into_iter(),
            headers: args.headers.clone(),
            tag: args.tag.clone(),
            timestamp: time::now(),
            assembly: Assembly::new(limit),
        })
    }

    /// How far the file was read.
    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// The next batch; none at the end.
    pub async fn next(&mut self) -> Result<Option<Batch>, Failure> {
        while !self.assembly.is_full() {
            let line = match self.lines.next() {
                Some(line) => line,
                None => match self.chunks.recv().await {
                    Some(chunk) => {
                        let chunk = chunk.map_err(|error| Failure::of(Exit::Failed, &error))?;
                        self.lines = chunk.into_iter();
                        continue;
                    }
                    None => break,
                },
            };
            self.add(line)?;
        }
        self.assembly.take()
    }

    fn add(&mut self, line: Line) -> Result<(), Failure> {
        let input = match line.item {
            Item::Record(input) => input,
            Item::Blank => return Ok(()),
            Item::Bad { reason, .. } => {
                return Err(Failure::failed(format!(
                    "line {}: {reason}; correct it, or give the plugin every line as it is with \
                     --format lines",
                    line.number
                )));
            }
        };
        let own = input.headers.iter();
        let own = own.map(|(name, value)| (name.as_str(), value.as_ref()));
        let given = self.headers.iter();
        let given = given.map(|(name, value)| (name.as_str(), value.as_bytes()));
        let mut headers: Vec<(&str, &[u8])> = own.chain(given).collect();
        let given = self.tag.as_deref().map(str::as_bytes);
        headers.extend(input.tag.as_deref().or(given).map(|tag| (TAG, tag)));
        let record = NewRecord {
            key: input.key.as_deref(),
            value: input.value.as_deref(),
            headers: &headers,
        };
        let timestamp = input.timestamp.unwrap_or(self.timestamp);
        self.assembly.builder.push(timestamp, &record);
        self.assembly.added(Place::Line(line.number));
        Ok(())
    }
}
