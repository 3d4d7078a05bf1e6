//! What happens when no instance can be made, and to the threads that have made them.

use crate::compile::translate;
use crate::engine::INSTANCES_MAX;
use crate::run::CallError;
use crate::scheduler::Stopped;
use crate::{Bound, Host, HostConfig, Input, Limits};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::thread::ThreadId;
use std::time::Duration;
use tokio::time::interval;
use weir_wire::id::{PluginVersion, Timestamp};
use weir_wire::plugin::Hook;

/// A binding of a filter on a host of its own.
fn bound(config: HostConfig) -> (Host, Bound) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/prebuilt");
    let component = std::fs::read(folder.join("hostile/traps-on-poison.wasm")).unwrap();
    let version = PluginVersion::new(Sha256::digest(&component).into());
    let host = Host::new(config).unwrap();
    let plugin = host.load(version, &translate(&component).unwrap()).unwrap();
    let bound = block(host.bind(&plugin, Hook::Filter, &[], &[], Limits::default()));
    (host, bound.unwrap())
}

fn block<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime.unwrap().block_on(work)
}

#[test]
fn that_all_places_are_taken_is_nobodys_fault() {
    let (_host, bound) = bound(HostConfig::default());
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

#[test]
fn a_thread_that_was_idle_makes_room_for_a_new_one() {
    let (host, bound) = bound(HostConfig {
        idle: Duration::from_millis(1),
        ..HostConfig::default()
    });
    let call = || {
        let input = Input {
            base_timestamp: Timestamp::new(0),
            count: 0,
            records: Bytes::new(),
        };
        block(bound.filter(input)).unwrap();
    };
    for _ in 0..2 {
        let before = bound.scheduler.threads();
        call();
        let is_other = |thread: &ThreadId| !before.contains(thread);
        let mut looks = 0..6_000;
        block(async {
            let mut every = interval(Duration::from_millis(10));
            while !bound.scheduler.threads().iter().any(is_other) {
                every.tick().await;
                looks.next().expect("another one within a minute");
            }
        });
        assert_eq!(bound.scheduler.threads().len(), before.len());
    }
    let nice = |stat: &str| -> i32 {
        // The name before it may have anything in it.
        let behind = stat.rsplit(')').next().unwrap();
        behind.split_whitespace().nth(16).unwrap().parse().unwrap()
    };
    let own = nice(&std::fs::read_to_string("/proc/thread-self/stat").unwrap());
    let mut found = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        // Threads of other tests come and go.
        let Ok(stat) = std::fs::read_to_string(task.unwrap().path().join("stat")) else {
            continue;
        };
        if stat.contains("(weir-plugin-") {
            found += 1;
            assert!(nice(&stat) <= own + 5, "nicer than the first ones: {stat}");
        }
    }
    assert!(found > 0);
    call();
    let scheduler = bound.scheduler.clone();
    drop(bound);
    drop(host);
    assert_eq!(scheduler.threads(), [], "all have ended");
}
