//! What a disk holds after the power failed: everything synced, and of the rest what a policy
//! lets through.

use std::path::Path;

use super::content::Pending;
use super::{Disk, NameChange, NameChangeKind, SimVfs, SplitMix};

const PAGE: usize = 4096;
const SECTOR: usize = 512;

/// What becomes of the changes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CrashPolicy {
    /// All are lost.
    DropUnsynced,
    /// Each page written and each change of a name is lost or kept, by chance.
    RandomSubset,
    /// All are kept, but of the last write only some sectors: the first ones, or any, by chance.
    TornWrite,
}

/// A moment in a simulated disk's life.
pub struct Snapshot(Disk);

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("files", &self.0.files.len())
            .finish_non_exhaustive()
    }
}

impl Snapshot {
    pub(super) fn new(disk: Disk) -> Self {
        Self(disk)
    }

    /// The disk as it is found after a crash at this moment.
    #[must_use]
    pub fn crash(&self, policy: CrashPolicy, seed: u64) -> SimVfs {
        let mut random = SplitMix(seed);
        let mut disk = self.0.clone();
        let last_written = disk.files.iter().rev().find_map(|(inode, file)| {
            let write = file
                .pending
                .iter()
                .rposition(|p| matches!(p, Pending::Write { .. }))?;
            Some((*inode, write))
        });
        for (inode, file) in &mut disk.files {
            for (at, pending) in std::mem::take(&mut file.pending).into_iter().enumerate() {
                let survivors = match policy {
                    CrashPolicy::DropUnsynced => Vec::new(),
                    CrashPolicy::RandomSubset => pieces(&pending, PAGE, &mut random, false),
                    CrashPolicy::TornWrite if last_written == Some((*inode, at)) => {
                        let prefix = random.next().is_multiple_of(2);
                        pieces(&pending, SECTOR, &mut random, prefix)
                    }
                    CrashPolicy::TornWrite => vec![pending],
                };
                survivors
                    .iter()
                    .for_each(|survivor| survivor.apply(&mut file.durable));
            }
            file.visible = file.durable.clone();
        }
        for change in std::mem::take(&mut disk.name_changes) {
            let kept = match policy {
                CrashPolicy::DropUnsynced => false,
                CrashPolicy::RandomSubset => random.next().is_multiple_of(2),
                CrashPolicy::TornWrite => true,
            };
            disk.settle(&change, kept);
        }
        disk.drop_orphans();
        SimVfs::with_disk(disk, seed)
    }
}

/// The parts of a change that survive: some units of a write, or all or nothing of the rest.
fn pieces(pending: &Pending, unit: usize, random: &mut SplitMix, prefix: bool) -> Vec<Pending> {
    let Pending::Write { offset, bytes } = pending else {
        let kept = random.next().is_multiple_of(2);
        return if kept {
            vec![pending.clone()]
        } else {
            Vec::new()
        };
    };
    let units = bytes.len().div_ceil(unit);
    let cut = usize::try_from(random.next() % (units as u64 + 1)).expect("at most `units`");
    bytes
        .chunks(unit)
        .enumerate()
        .filter(|(at, _)| {
            if prefix {
                *at < cut
            } else {
                random.next().is_multiple_of(2)
            }
        })
        .map(|(at, piece)| Pending::Write {
            offset: offset + (at * unit) as u64,
            bytes: piece.into(),
        })
        .collect()
}

impl Disk {
    /// Makes the changes of names in `directory` durable.
    pub(super) fn sync_names(&mut self, directory: &Path) {
        let (now, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.name_changes)
            .into_iter()
            .partition(|change| change.directory == directory);
        self.name_changes = later;
        now.iter().for_each(|change| self.settle(change, true));
    }

    fn settle(&mut self, change: &NameChange, kept: bool) {
        match &change.kind {
            // Directories count as there from the start; a crash takes an unsynced one back.
            NameChangeKind::MakeDirectory(path) if !kept => {
                self.directories.remove(path);
            }
            _ if !kept => {}
            NameChangeKind::MakeDirectory(path) => {
                self.directories.insert(path.clone());
            }
            NameChangeKind::Link(path, inode) => {
                self.names.insert(path.clone(), *inode);
            }
            NameChangeKind::Unlink(path) => {
                self.names.remove(path);
            }
            NameChangeKind::Rename(from, to, inode) => {
                self.names.remove(from);
                self.names.insert(to.clone(), *inode);
            }
        }
    }

    fn drop_orphans(&mut self) {
        let directories = self.directories.clone();
        let there = |path: &Path| {
            path.ancestors()
                .skip(1)
                .all(|dir| directories.contains(dir))
        };
        self.directories.retain(|path| there(path));
        self.names.retain(|path, _| there(path));
        let Self { files, names, .. } = self;
        files.retain(|inode, _| names.values().any(|named| named == inode));
    }
}
