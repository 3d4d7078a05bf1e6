//! The names of a log's files: which number a name stands for, and which names stand for nothing.

use std::io;
use std::path::Path;

use weir_wire::id::TopicPartition;

use crate::error::OpenError;
use crate::format::block::PARTITIONS_NAMED_MAX;
use crate::vfs::Vfs;

/// The end of the name of a file that is to replace another one.
pub(crate) const TEMPORARY_SUFFIX: &str = ".tmp";

/// What is wrong with a name that nobody here gives.
const FOREIGN: &str = "is no file of a log; is this another program's directory?";

/// The names in a directory; none if it is not there.
pub(crate) fn list<E>(vfs: &dyn Vfs, dir: &Path) -> Result<Vec<String>, OpenError<E>> {
    match vfs.list(dir) {
        Ok(names) => Ok(names),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(io_error(dir, source)),
    }
}

/// The numbers of the files in a directory whose names are a number and `suffix`, in order.
/// Half-made files are left out; any other name is an error.
pub(crate) fn numbered<E>(
    vfs: &dyn Vfs,
    dir: &Path,
    suffix: &str,
) -> Result<Vec<u64>, OpenError<E>> {
    let mut numbers = Vec::new();
    for name in list(vfs, dir)? {
        if name.ends_with(TEMPORARY_SUFFIX) {
            continue;
        }
        let stem = name.strip_suffix(suffix);
        let number = stem.and_then(number).ok_or_else(|| foreign(dir, &name))?;
        numbers.push(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The number that is written in 16 digits.
pub(crate) fn number(digits: &str) -> Option<u64> {
    let plain = digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

/// The names of partitions that a message is about, or that nobody knows them.
pub(crate) fn partitions(all: impl IntoIterator<Item = TopicPartition>, more: bool) -> String {
    let mut all = all.into_iter();
    let named = all.by_ref().take(PARTITIONS_NAMED_MAX);
    let mut names: Vec<String> = named.map(|at| at.to_string()).collect();
    if names.is_empty() {
        return "unknown".to_owned();
    }
    if more || all.next().is_some() {
        names.push("and others".to_owned());
    }
    names.join(", ")
}

/// The error about a name that nobody here gives.
pub(crate) fn foreign<E>(dir: &Path, name: &str) -> OpenError<E> {
    OpenError::Foreign {
        path: dir.join(name),
        what: FOREIGN.to_owned(),
    }
}

pub(crate) fn io_error<E>(path: &Path, source: io::Error) -> OpenError<E> {
    OpenError::Io {
        path: path.to_owned(),
        source,
    }
}
