//! The thread that reads the input, so that decompressing and checking does not hold up sending.

use std::io::{self, BufRead, Read};

use bytes::Bytes;
use tokio::sync::mpsc;
use weir_wire::limits::BATCH_BYTES_MAX;

use super::{Format, Item, Line, LineInput, LineNumber, LineRules, Source};

/// Lines handed over at once, and their bytes: a hand-over per line would cost more than the line.
const CHUNK_LINES: usize = 1024;
const CHUNK_BYTES: usize = 512 << 10;
/// Chunks that may wait: enough that neither side waits for the other.
const CHUNKS_WAITING: usize = 8;
/// The largest record that fits a batch beside its header and framing.
pub const RECORD_BYTES_MAX: usize = BATCH_BYTES_MAX - (64 << 10);
/// Printed as JSON, a byte is at most six characters; a tag is printed twice.
const PRINTED_BYTES_MAX: usize = 12 * RECORD_BYTES_MAX;

/// Why the input ended too early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The bytes could not be read or decompressed.
    #[error("cannot read the input after line {after}: {source}")]
    Read {
        /// The last line that was read.
        after: LineNumber,
        /// Why.
        source: io::Error,
    },
}

/// What the reading thread hands over.
pub type Chunks = mpsc::Receiver<Result<Vec<Line>, InputError>>;

/// Reads `source` on a thread of its own, which ends with the input or when the receiver is
/// dropped. The first `skip` lines are counted, not handed over.
pub fn read_in_background(source: Source, rules: LineRules, skip: LineNumber) -> Chunks {
    let (sender, receiver) = mpsc::channel(CHUNKS_WAITING);
    std::thread::spawn(move || {
        let mut reader = Reader {
            bytes: source.bytes,
            rules,
            skip,
            line: LineNumber::default(),
        };
        loop {
            let chunk = reader.chunk();
            let failed = chunk.is_err();
            let ended = chunk.as_ref().is_ok_and(Vec::is_empty);
            if ended || sender.blocking_send(chunk).is_err() || failed {
                return;
            }
        }
    });
    receiver
}

struct Reader {
    bytes: Box<dyn LineInput>,
    rules: LineRules,
    skip: LineNumber,
    line: LineNumber,
}

impl Reader {
    /// The next lines, as many as there are without waiting for more; none at the end.
    fn chunk(&mut self) -> Result<Vec<Line>, InputError> {
        let mut lines = Vec::new();
        let mut bytes = 0;
        while lines.len() < CHUNK_LINES && bytes < CHUNK_BYTES {
            let Some(read) = self.read_line().map_err(|source| InputError::Read {
                after: self.line,
                source,
            })?
            else {
                break;
            };
            self.line = self.line.next();
            if self.line <= self.skip {
                continue;
            }
            let item = match read {
                Some(line) => {
                    bytes += line.len();
                    self.rules.apply(line)
                }
                None => Item::Bad {
                    line: Bytes::new(),
                    reason: format!(
                        "longer than {} bytes, the most a record has",
                        self.line_bytes_max()
                    ),
                },
            };
            lines.push(Line {
                number: self.line,
                item,
            });
            if !self.bytes.has_line() && bytes < CHUNK_BYTES / 2 {
                break;
            }
        }
        Ok(lines)
    }

    const fn line_bytes_max(&self) -> usize {
        match self.rules.format {
            Format::Record => PRINTED_BYTES_MAX,
            Format::Lines | Format::Ndjson | Format::Raw => RECORD_BYTES_MAX,
        }
    }

    /// A line without its newline; `Some(None)` for one that is too long, whose rest is skipped.
    fn read_line(&mut self) -> io::Result<Option<Option<Bytes>>> {
        let most = self.line_bytes_max();
        let limit = most as u64 + 1;
        let mut line = Vec::new();
        let mut bounded = (&mut self.bytes).take(limit);
        let count = if self.rules.format == Format::Raw {
            bounded.read_to_end(&mut line)?
        } else {
            bounded.read_until(b'\n', &mut line)?
        };
        if count == 0 {
            return Ok(None);
        }
        if self.rules.format != Format::Raw && line.last() == Some(&b'\n') {
            line.pop();
        } else if line.len() > most {
            self.skip_rest()?;
            return Ok(Some(None));
        }
        Ok(Some(Some(Bytes::from(line))))
    }

    fn skip_rest(&mut self) -> io::Result<()> {
        if self.rules.format == Format::Raw {
            return io::copy(&mut self.bytes, &mut io::sink()).map(drop);
        }
        self.bytes.skip_until(b'\n').map(drop)
    }
}
