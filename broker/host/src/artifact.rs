//! The precompiled form of a component as it is kept on disk: a header that says what it is for,
//! then wasmtime's own serialization.
//!
//! Layout, little-endian: magic (8 bytes), engine hash (u64), SHA-256 of the component (32), hooks
//! as a bit set of wire numbers (u64), payload length (u64), SHA-256 of the payload (32), payload.

use sha2::{Digest, Sha256};
use weir_wire::id::PluginVersion;
use weir_wire::plugin::Hook;

/// The last two digits count this layout.
const MAGIC: [u8; 8] = *b"WEIRCW01";
const HEADER_LEN: usize = 8 + 8 + 32 + 8 + 8 + 32;

/// Why a precompiled form cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// Made for another engine: another version of wasmtime, other settings, another processor.
    #[error("the precompiled form was made for another engine; compile the component again")]
    Stale,
    /// Not a precompiled form, or cut short, or changed since it was written.
    #[error("the precompiled form is damaged ({what}); compile the component again")]
    Damaged {
        /// What does not fit.
        what: &'static str,
    },
    /// The precompiled form of another component.
    #[error("the precompiled form belongs to plugin version {found}, not {wanted}; compile again")]
    OtherVersion {
        /// The version asked for.
        wanted: PluginVersion,
        /// The version in the header.
        found: PluginVersion,
    },
    /// The engine refused a form that its own header calls good.
    #[error("the engine cannot load the precompiled form: {message}; compile the component again")]
    Engine {
        /// What the engine said.
        message: String,
    },
}

/// What the header of a precompiled form says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ArtifactHeader {
    /// The component it was made from.
    pub(crate) version: PluginVersion,
    /// The hooks that the component exports.
    pub(crate) hooks: Vec<Hook>,
    pub(crate) engine: u64,
}

/// Puts the header before what the engine serialized.
pub(crate) fn assemble(header: &ArtifactHeader, payload: &[u8]) -> Vec<u8> {
    let hooks = header
        .hooks
        .iter()
        .fold(0u64, |bits, hook| bits | 1 << *hook as u64);
    let mut artifact = Vec::with_capacity(HEADER_LEN + payload.len());
    artifact.extend_from_slice(&MAGIC);
    artifact.extend_from_slice(&header.engine.to_le_bytes());
    artifact.extend_from_slice(header.version.as_bytes());
    artifact.extend_from_slice(&hooks.to_le_bytes());
    artifact.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    artifact.extend_from_slice(&Sha256::digest(payload));
    artifact.extend_from_slice(payload);
    artifact
}

/// Takes header and payload apart, checking everything that needs no engine.
pub(crate) fn split(artifact: &[u8]) -> Result<(ArtifactHeader, &[u8]), LoadError> {
    let mut rest = artifact;
    let header = (|| {
        let magic = take::<8>(&mut rest)?;
        let engine = u64::from_le_bytes(take(&mut rest)?);
        let version = PluginVersion::new(take(&mut rest)?);
        let hooks = u64::from_le_bytes(take(&mut rest)?);
        let length = u64::from_le_bytes(take(&mut rest)?);
        let hash = take::<32>(&mut rest)?;
        Some((magic, engine, version, hooks, length, hash))
    })();
    let Some((magic, engine, version, hooks, length, hash)) = header else {
        return Err(LoadError::Damaged {
            what: "it is shorter than its header",
        });
    };
    if magic != MAGIC {
        return Err(LoadError::Damaged {
            what: "it does not start as one",
        });
    }
    if rest.len() as u64 != length {
        return Err(LoadError::Damaged {
            what: "its length is not what its header says",
        });
    }
    if <[u8; 32]>::from(Sha256::digest(rest)) != hash {
        return Err(LoadError::Damaged {
            what: "its hash is not what its header says",
        });
    }
    let set = |hook: &Hook| hooks >> *hook as u64 & 1 == 1;
    let hooks = Hook::ALL.into_iter().filter(set).collect();
    Ok((
        ArtifactHeader {
            version,
            hooks,
            engine,
        },
        rest,
    ))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::{ArtifactHeader, Hook, LoadError, PluginVersion, assemble, split};

    fn header() -> ArtifactHeader {
        let hooks = vec![Hook::Route, Hook::Filter];
        ArtifactHeader {
            version: PluginVersion::new([7; 32]),
            hooks,
            engine: 42,
        }
    }

    #[test]
    fn what_is_assembled_is_split_again() {
        let artifact = assemble(&header(), b"payload");
        let (found, payload) = split(&artifact).unwrap();
        assert_eq!((found, payload), (header(), &b"payload"[..]));
    }

    #[test]
    fn every_truncation_and_every_changed_byte_of_the_payload_is_noticed() {
        let artifact = assemble(&header(), b"payload");
        for end in 0..artifact.len() {
            assert!(
                matches!(split(&artifact[..end]), Err(LoadError::Damaged { .. })),
                "{end}"
            );
        }
        for at in (0..8).chain(56..artifact.len()) {
            let mut changed = artifact.clone();
            changed[at] ^= 1;
            assert!(
                matches!(split(&changed), Err(LoadError::Damaged { .. })),
                "{at}"
            );
        }
    }
}
