//! The file that says whose log this is.

use std::io;
use std::path::PathBuf;

use weir_wire::id::ShardId;

use crate::config::LogConfig;
use crate::error::OpenError;
use crate::format::FORMAT_VERSION;
use crate::ids::NodeId;
use crate::names::io_error;
use crate::vfs::Vfs;

pub(crate) const NODE_FILE: &str = "NODE";
pub(crate) const NODE_MAGIC: &str = "weir-log";

fn node_path(config: &LogConfig) -> PathBuf {
    config.dir.join(NODE_FILE)
}

/// Which node the directory belongs to; `None` when nothing says so.
pub(crate) fn read<E>(vfs: &dyn Vfs, config: &LogConfig) -> Result<Option<NodeId>, OpenError<E>> {
    let path = node_path(config);
    let foreign = |what: &str| OpenError::Foreign {
        path: path.clone(),
        what: what.to_owned(),
    };
    let bytes = match vfs.read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(io_error(&path, source)),
    };
    let text = String::from_utf8_lossy(&bytes);
    let mut words = text.split_whitespace();
    if words.next() != Some(NODE_MAGIC) {
        return Err(foreign(
            "is not the node file of a Weir log; restore it from a copy",
        ));
    }
    let version = words.next().and_then(|word| word.parse::<u16>().ok());
    if version != Some(FORMAT_VERSION) {
        let what = format!(
            "at byte {}: it states a log format that this weir does not read (it reads \
             {FORMAT_VERSION}); use the weir that wrote it, or a newer one",
            NODE_MAGIC.len() + 1
        );
        return Err(foreign(&what));
    }
    let node = words.next().and_then(|word| word.parse().ok());
    let node = node.ok_or_else(|| foreign("names no node; restore it from a copy"))?;
    Ok(Some(NodeId::new(node)))
}

/// Writes down whose log this is, before there is anything in it.
pub(crate) fn write<E>(
    vfs: &dyn Vfs,
    config: &LogConfig,
    node: NodeId,
) -> Result<(), OpenError<E>> {
    let path = node_path(config);
    let text = format!("{NODE_MAGIC} {FORMAT_VERSION} {node}\n");
    vfs.write_atomic(&path, text.as_bytes())
        .map_err(|source| io_error(&path, source))
}

/// What to say of a file that belongs to another node, or to another shard.
pub(crate) fn of_another(found: (NodeId, ShardId), own: (NodeId, ShardId)) -> String {
    if found.0 == own.0 {
        return format!(
            "belongs to shard {}, not to shard {}; put back the file that was here",
            found.1, own.1
        );
    }
    format!(
        "belongs to node {}; {NODE_FILE} says {}: restore whichever of the two is not of this log",
        found.0, own.0
    )
}

/// The error about files that belong to nobody.
pub(crate) fn missing<E>(config: &LogConfig) -> OpenError<E> {
    OpenError::Foreign {
        path: node_path(config),
        what: "is missing, while there are log files; restore it from a copy".to_owned(),
    }
}
