//! Reading segments again, all of them, round and round: what a disk loses without a word is
//! found while there are still copies, and not when somebody needs it. How fast, whoever drives
//! it decides.

use std::collections::VecDeque;

use crate::ids::SegmentId;
use crate::offline::Damage;
use crate::offline::check::RunCheck;
use crate::offline::frames::Frames;
use crate::offline::pages::Pages;
use crate::offline::verify::footer;
use crate::reader::LogReader;
use crate::segment::{Run, segment_path};

/// Bytes read at once.
const PIECE_BYTES: u64 = 1 << 20;

/// Reads the segments that readers may be led to, past the page cache.
#[derive(Debug)]
pub struct Scrub {
    reader: LogReader,
    /// What is left of this round; `None` between two rounds.
    round: Option<VecDeque<SegmentId>>,
    open: Option<Open>,
}

/// A segment that is being read.
#[derive(Debug)]
struct Open {
    pages: Pages,
    runs: VecDeque<Run>,
    /// The run that is being read, and how far.
    run: Option<(Run, RunCheck, u64)>,
}

/// What a step did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Bytes that were read.
    pub bytes: u64,
    /// What is damaged. Reading it is refused; everything around it is served.
    pub damages: Vec<Damage>,
    /// Everything was read once; the next step begins again.
    pub round_ended: bool,
}

impl Scrub {
    /// One that begins at the oldest segment.
    #[must_use]
    pub fn new(reader: LogReader) -> Self {
        Self {
            reader,
            round: None,
            open: None,
        }
    }

    /// Reads about that many bytes, at most to the end of the round. Blocks.
    pub fn step(&mut self, bytes: u64) -> Scrubbed {
        let mut done = Scrubbed::default();
        while done.bytes < bytes {
            if let Some(mut open) = self.open.take() {
                if open.read(bytes, &mut done, &self.reader) {
                    self.open = Some(open);
                }
                continue;
            }
            let segments = || self.reader.segments().into();
            match self.round.get_or_insert_with(segments).pop_front() {
                Some(id) => self.begin(id, &mut done),
                None => {
                    self.round = None;
                    done.round_ended = true;
                    return done;
                }
            }
        }
        done
    }

    /// Opens a segment and checks what it says is in it.
    fn begin(&mut self, id: SegmentId, done: &mut Scrubbed) {
        let (vfs, dir) = self.reader.place();
        let path = segment_path(dir, id);
        let opened = Pages::open(vfs, &path, true);
        let damage = match (footer(vfs, dir, None, id), opened) {
            (Ok(meta), Ok(pages)) => {
                let frames: u64 = meta.runs.iter().map(|run| run.length).sum();
                done.bytes += meta.bytes - frames;
                self.open = Some(Open {
                    pages: pages.in_pieces_of(PIECE_BYTES),
                    runs: meta.runs.into(),
                    run: None,
                });
                return;
            }
            (Err((_, damage)), _) => damage,
            (Ok(_), Err(error)) => Damage {
                path,
                offset: 0,
                what: format!("cannot be opened: {error}"),
                partitions: Vec::new(),
                advice: "check the disk and the permissions",
            },
        };
        // One that was replaced meanwhile may be gone, before or between the two.
        if self.reader.segments().contains(&id) {
            done.damages.push(damage);
        }
    }
}

impl Open {
    /// Reads on; answers whether something is left.
    fn read(&mut self, bytes: u64, done: &mut Scrubbed, reader: &LogReader) -> bool {
        let (run, mut check, from) = match self.run.take() {
            Some(run) => run,
            None => match self.runs.pop_front() {
                Some(run) => (
                    run,
                    RunCheck::new(self.pages.path(), Some(&run)),
                    run.position,
                ),
                None => return false,
            },
        };
        let mut frames = Frames::new(&mut self.pages, from, run.frames_end());
        let enough = from + bytes.saturating_sub(done.bytes).max(1);
        while frames.at() < enough
            && let Some(piece) = frames.next()
        {
            check.piece(piece);
        }
        let at = frames.at();
        done.bytes += at - from;
        if at < run.frames_end() {
            self.run = Some((run, check, at));
            return true;
        }
        let damages = check.finish().damages;
        // A run that was replaced or trimmed meanwhile may be anything.
        if !damages.is_empty() && reader.is_live(&run) {
            done.damages.extend(damages);
        }
        true
    }
}
