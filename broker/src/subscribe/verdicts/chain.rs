//! Which filters, with which settings, in which order: what verdicts belong to.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use weir_wire::id::PluginVersion;
use weir_wire::plugin::{ErrorPolicy, Hook};

/// A SHA-256 digest of everything that a chain's verdicts depend on besides the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ChainId([u8; 32]);

impl ChainId {
    /// Before every other one in their order.
    pub(super) const FIRST: Self = Self([0; 32]);
}

/// A chain of filters.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub(super) id: ChainId,
    /// The components in it.
    pub(super) versions: Arc<[PluginVersion]>,
}

/// One filter of a chain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link<'a> {
    pub(crate) version: PluginVersion,
    pub(crate) hook: Hook,
    /// Its settings as the plugin gets them: in an order that does not depend on how they were
    /// written.
    pub(crate) config: &'a [(String, String)],
    pub(crate) on_error: ErrorPolicy,
}

impl Chain {
    /// The chain of these filters.
    pub(crate) fn new<'a>(links: impl IntoIterator<Item = Link<'a>>) -> Self {
        let mut digest = Sha256::new();
        let mut versions = Vec::new();
        for link in links {
            digest.update(link.version.as_bytes());
            digest.update([link.hook as u8, link.on_error as u8]);
            digest.update((link.config.len() as u64).to_le_bytes());
            for text in link.config.iter().flat_map(|it| [&it.0, &it.1]) {
                // With its length, or one long setting could pass for two short ones.
                digest.update((text.len() as u64).to_le_bytes());
                digest.update(text);
            }
            versions.push(link.version);
        }
        Self {
            id: ChainId(digest.finalize().into()),
            versions: versions.into(),
        }
    }
}
