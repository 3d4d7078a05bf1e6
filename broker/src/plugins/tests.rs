//! Files of components, and compiling them again.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::time::timeout;
use weir_host::{CompileError, CompilerCommand, Host, HostConfig, Limits};
use weir_log::{SimVfs, Vfs};
use weir_wire::error::ErrorCode;
use weir_wire::id::PluginVersion;

use super::{MEND_PAUSE, PluginStore, compile_fault, component_fault};

fn store(vfs: &Arc<dyn Vfs>, directory: &Path) -> PluginStore {
    PluginStore {
        vfs: vfs.clone(),
        directory: directory.to_owned(),
        limits: Limits::default(),
        loaded: Mutex::default(),
        files: tokio::sync::Mutex::default(),
        compiling: tokio::sync::Mutex::default(),
        waiting: tokio::sync::Semaphore::new(1),
        damaged: Arc::default(),
    }
}

#[tokio::test]
async fn what_cannot_be_compiled_is_not_tried_for_each_who_waits() {
    let vfs: Arc<dyn Vfs> = Arc::new(SimVfs::new(1));
    let directory = PathBuf::from("/plugins");
    vfs.create_dir_all(&directory).unwrap();
    let store = store(&vfs, &directory);
    let compiler = Some(CompilerCommand {
        program: "/bin/false".into(),
        arguments: Vec::new(),
    });
    let host = Host::new(HostConfig {
        compiler,
        ..HostConfig::default()
    });
    let host = host.unwrap();
    let component = Bytes::from_static(b"\0asm\x0d\0\x01\0");
    let version = PluginVersion::new(Sha256::digest(&component).into());
    let files = store.files().await;
    let damaged = Bytes::from_static(b"damaged");
    files.add(version, component, damaged).await.unwrap();
    drop(files);
    let load = async |since| store.load(&host, version, since).await.unwrap_err();
    let before = Instant::now();
    let failed = load(before).await;
    assert!(failed.message.contains("/bin/false failed"), "{failed}");
    // Who asked before that hears the same, though it would be something else by now.
    vfs.remove(&store.path(version, "wasm")).unwrap();
    assert_eq!(load(before).await, failed);
    let gone = load(Instant::now()).await;
    assert!(gone.message.contains("cannot be used"), "{gone}");
    // Nor does everybody wait.
    let waiting = store.waiting.try_acquire().unwrap();
    assert_eq!(load(before).await.code, ErrorCode::Overloaded);
    drop(waiting);
    // What is found damaged is compiled by itself.
    store.compiling.lock().await.clear();
    store.damaged.versions.lock().insert(version);
    store.damaged.more.notify_one();
    let tried = async {
        while store.compiling.lock().await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = store.mend(&host) => unreachable!("it never ends"),
        () = tried => {}
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_stays_damaged_holds_up_no_other() {
    let vfs: Arc<dyn Vfs> = Arc::new(SimVfs::new(1));
    let directory = PathBuf::from("/plugins");
    vfs.create_dir_all(&directory).unwrap();
    let store = store(&vfs, &directory);
    let host = Host::new(HostConfig::default()).unwrap();
    // Neither has a component that could be compiled.
    let versions = [7, 8].map(|byte| PluginVersion::new([byte; 32]));
    store.damaged.versions.lock().extend(versions);
    store.damaged.more.notify_one();
    let mended = timeout(MEND_PAUSE / 2, store.mend(&host)).await;
    assert!(mended.is_err(), "it never ends");
    assert_eq!(store.compiling.lock().await.len(), 2, "both were tried");
}

#[tokio::test]
async fn what_was_removed_meanwhile_leaves_no_compiled_form() {
    let vfs: Arc<dyn Vfs> = Arc::new(SimVfs::new(1));
    let directory = PathBuf::from("/plugins");
    vfs.create_dir_all(&directory).unwrap();
    let store = store(&vfs, &directory);
    let (version, form) = (PluginVersion::new([7; 32]), Bytes::from_static);
    let names = || vfs.list(&directory).unwrap().len();
    let files = store.files().await;
    let (component, compiled) = (form(b"component"), form(b"old"));
    files.add(version, component, compiled).await.unwrap();
    files.renew(version, form(b"new")).await.unwrap();
    let path = Path::new("/plugins").join(format!("{version}.cwasm"));
    assert_eq!((names(), vfs.read(&path).unwrap()), (2, b"new".to_vec()));
    files.remove(version).await;
    let late = files.renew(version, form(b"late")).await;
    assert_eq!(late.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(names(), 0);
    // Of two that a push left behind, nobody has the second.
    let left = PluginVersion::new([8; 32]);
    for version in [version, left] {
        let (component, compiled) = (form(b"component"), form(b"form"));
        files.add(version, component, compiled).await.unwrap();
    }
    // Cut short earlier, it has left files without their names, be the version known or not.
    let unfinished = [
        format!("{version}.cwasm.tmp"),
        format!("{left}.wasm.tmp"),
        format!("{}.cwasm.tmp", PluginVersion::new([9; 32])),
    ];
    let theirs = ["notes.wasm", "notes.wasm.tmp"].map(str::to_owned);
    for name in unfinished.iter().chain(&theirs) {
        vfs.write_atomic(&directory.join(name), b"some").unwrap();
    }
    files.remove_unknown(|found| found == version).await;
    let expected = [format!("{version}.cwasm"), format!("{version}.wasm")];
    let expected = expected.into_iter().chain(theirs);
    assert_eq!(vfs.list(&directory).unwrap(), expected.collect::<Vec<_>>());
}

#[tokio::test]
async fn what_there_is_no_room_for_leaves_nothing_half_written() {
    let sim = SimVfs::new(1);
    let vfs: Arc<dyn Vfs> = Arc::new(sim.clone());
    let directory = PathBuf::from("/plugins");
    vfs.create_dir_all(&directory).unwrap();
    let store = store(&vfs, &directory);
    let version = PluginVersion::new([7; 32]);
    let files = store.files().await;
    let add = || {
        let (component, compiled) = (vec![1; 10_000].into(), vec![2; 10_000].into());
        files.add(version, component, compiled)
    };
    // Room for the component, and for a part of its compiled form.
    sim.set_capacity(Some(sim.used() + 15_000));
    assert_eq!(add().await.unwrap_err().code, ErrorCode::DiskFull);
    let whole = vec![format!("{version}.wasm")];
    assert_eq!(vfs.list(&directory).unwrap(), whole);
    sim.set_capacity(None);
    add().await.unwrap();
    assert_eq!(vfs.list(&directory).unwrap().len(), 2);
}

#[test]
fn only_what_stays_in_the_way_makes_a_component_unusable() {
    let version = PluginVersion::new([7; 32]);
    let passes = |kind: ErrorKind| {
        let fault = component_fault(version, Path::new("it.wasm"), &kind.into());
        fault.is_retryable()
    };
    assert!(!passes(ErrorKind::NotFound) && !passes(ErrorKind::InvalidData));
    assert!(passes(ErrorKind::OutOfMemory) && passes(ErrorKind::Other));
}

#[test]
fn a_busy_machine_is_a_reason_to_try_again() {
    let limit = Duration::from_secs(180);
    let passing = [
        CompileError::Busy { waiting: 16 },
        CompileError::TooLong { limit },
        CompileError::Stopped {
            program: "weir".to_owned(),
            message: "signal: 9".to_owned(),
        },
    ];
    for error in &passing {
        assert!(compile_fault(error).is_retryable(), "{error}");
    }
    let limit = "60s of processor time".to_owned();
    assert!(!compile_fault(&CompileError::Limit { limit }).is_retryable());
}
