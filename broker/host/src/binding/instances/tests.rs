//! What happens when no instance can be made.

use crate::compile::translate;
use crate::engine::INSTANCES_MAX;
use crate::run::CallError;
use crate::scheduler::Stopped;
use crate::{Host, HostConfig, Limits};
use sha2::{Digest, Sha256};
use std::path::Path;
use weir_wire::id::PluginVersion;
use weir_wire::plugin::Hook;

#[test]
fn that_all_places_are_taken_is_nobodys_fault() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/prebuilt");
    let component = std::fs::read(folder.join("hostile/traps-on-poison.wasm")).unwrap();
    let version = PluginVersion::new(Sha256::digest(&component).into());
    let host = Host::new(HostConfig::default()).unwrap();
    let plugin = host.load(version, &translate(&component).unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let bound = host.bind(&plugin, Hook::Filter, &[], &[], Limits::default());
    let bound = runtime.block_on(bound).unwrap();
    let taken: Vec<_> = (0..INSTANCES_MAX)
        .map(|_| bound.binding.new_instance().unwrap())
        .collect();
    let error = match bound.binding.fresh_instance() {
        Err(Stopped::Failed(error)) => error,
        other => panic!("{other:?}"),
    };
    assert!(
        matches!(error, CallError::Crowded { .. }) && error.is_retryable(),
        "{error}"
    );
    assert!(!error.quarantines());
    drop(taken);
    bound.binding.fresh_instance().unwrap();
}
