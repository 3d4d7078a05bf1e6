//! Uploads that are no plugins, compilers that misbehave, and precompiled forms that do not fit.

use crate::bomb::bomb;
use crate::support::{bind, block, config, host, prebuilt, values};
use bytes::Bytes;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use weir_host::{CompileError, CompilerCommand, Host, HostConfig, Limits, LoadError};
use weir_wire::id::PluginVersion;
use weir_wire::limits::COMPONENT_BYTES_MAX;
use weir_wire::plugin::Hook;

fn invalid(component: impl Into<Bytes>) -> String {
    match block(host().compile(component.into())) {
        Err(CompileError::Invalid { message }) => message,
        other => panic!("{other:?}"),
    }
}

fn with_compiler(program: &str, arguments: &[&str], wall: Duration) -> CompileError {
    let arguments = arguments.iter().map(Into::into).collect();
    let compiler = Some(CompilerCommand {
        program: PathBuf::from(program),
        arguments,
    });
    let host = Host::new(HostConfig {
        compiler,
        compile_wall: wall,
        ..config()
    })
    .unwrap();
    block(host.compile(prebuilt("tag-filter"))).unwrap_err()
}

#[test]
fn what_is_no_component_is_refused() {
    assert_eq!(invalid(&b""[..]), "the file is empty");
    assert!(invalid(&b"not wasm at all"[..]).contains("is not WebAssembly"));
    assert!(invalid(&b"\0asm"[..]).contains("not a WebAssembly component of a known format"));
    assert!(invalid(&b"\0asm\x01\0\0\0"[..]).contains("is a core WebAssembly module"));
    let component = prebuilt("tag-filter");
    for end in [8, 9, 100, component.len() / 2, component.len() - 1] {
        assert!(!invalid(component.slice(..end)).is_empty());
    }
    let mut noise = component.to_vec();
    noise[1_000..2_000].reverse();
    assert!(!invalid(noise).is_empty());
    let mut large = component.to_vec();
    large.resize(COMPONENT_BYTES_MAX + 1, 0);
    assert_eq!(
        block(host().compile(large.into())).unwrap_err(),
        CompileError::TooLarge {
            bytes: COMPONENT_BYTES_MAX + 1,
            max: COMPONENT_BYTES_MAX
        }
    );
}

#[test]
fn components_that_break_the_contract_are_told_what_is_wrong() {
    let hostile = |name: &str| invalid(prebuilt(&format!("hostile/{name}")));
    assert_eq!(
        hostile("no-lifecycle"),
        "it does not export `weir:plugin/lifecycle@1.0.0`; build it with the weir-plugin kit"
    );
    assert_eq!(
        hostile("no-hook"),
        "it exports no hook; one of weir:plugin/filter@1.0.0, weir:plugin/mapper@1.0.0, \
         weir:plugin/ordering-key@1.0.0, weir:plugin/retry@1.0.0, weir:plugin/router@1.0.0 is needed"
    );
    assert_eq!(
        hostile("wrong-name"),
        "its export `weir:plugin/filter@1.0.0` has no function `filter`"
    );
    let message = hostile("wrong-type");
    let start = "its function `filter` of `weir:plugin/filter@1.0.0` has the wrong type: ";
    assert!(
        message.starts_with(start) && message.contains("expected `u8`"),
        "{message}"
    );
    assert!(hostile("wrong-batch").starts_with(start));
    let message = hostile("foreign-import");
    assert!(
        message.starts_with("it imports `test:hostile/secrets`; a plugin may"),
        "{message}"
    );
    let message = hostile("other-version");
    assert!(
        message.contains("@2.0.0") && message.contains("version 1 of weir:plugin"),
        "{message}"
    );
}

#[test]
fn a_component_that_takes_long_to_compile_is_killed() {
    let limited = |config: HostConfig| {
        let start = Instant::now();
        let error = block(Host::new(config).unwrap().compile(bomb())).unwrap_err();
        assert!(start.elapsed() < Duration::from_secs(120));
        let limit = matches!(
            error,
            CompileError::Limit { .. } | CompileError::TooLong { .. }
        );
        assert!(limit, "{error}");
        error.to_string()
    };
    let cpu = limited(HostConfig {
        compile_cpu: Duration::from_secs(1),
        ..config()
    });
    assert!(cpu.contains("more than 1s of processor time"), "{cpu}");
    let wall = limited(HostConfig {
        compile_wall: Duration::from_millis(300),
        ..config()
    });
    assert!(wall.contains("more than 300ms"), "{wall}");
    let memory = limited(HostConfig {
        compile_memory: 48 << 20,
        ..config()
    });
    assert!(
        memory.contains("more than 50331648 bytes of memory"),
        "{memory}"
    );
    // The host lives and compiles on.
    assert!(block(host().compile(prebuilt("json-key"))).is_ok());
}

#[test]
fn compilers_that_misbehave_are_named() {
    let minute = Duration::from_secs(60);
    let missing = with_compiler("/nonexistent/weir", &[], minute).to_string();
    assert!(
        missing.starts_with("the compiler /nonexistent/weir failed: "),
        "{missing}"
    );
    let nameless = with_compiler("no-such-program-anywhere", &[], minute);
    assert_eq!(nameless, CompileError::NoCompiler);
    let failing = with_compiler("/bin/false", &[], minute).to_string();
    assert!(
        failing.contains("/bin/false failed: exit status: 1"),
        "{failing}"
    );
    // It ends well and says nothing.
    let silent = with_compiler("/bin/true", &[], minute).to_string();
    assert!(
        silent.contains("the precompiled form is damaged"),
        "{silent}"
    );
    // It says something else than a precompiled form.
    let chatty = with_compiler("/bin/echo", &["WEIRCW01"], minute).to_string();
    assert!(
        chatty.contains("the precompiled form is damaged"),
        "{chatty}"
    );
    let hanging = with_compiler("/bin/sleep", &["1000"], Duration::from_millis(200));
    assert_eq!(
        hanging,
        CompileError::TooLong {
            limit: Duration::from_millis(200)
        }
    );
    // Killed by somebody else, who was short of memory perhaps, it may well end the next time.
    let killed = with_compiler("/bin/sh", &["-c", "kill -9 $$"], minute);
    assert!(matches!(killed, CompileError::Stopped { .. }), "{killed}");
    assert!(killed.to_string().contains("signal: 9"), "{killed}");
    // Killed itself, it leaves a child that holds its pipes.
    let forking = with_compiler("sh", &["-c", "sleep 10; true"], Duration::from_millis(200));
    assert_eq!(
        forking,
        CompileError::TooLong {
            limit: Duration::from_millis(200)
        }
    );
    // It answers no more but goes on.
    let script = "exec >&- 2>&-; exec /bin/sleep 1000";
    let mute = with_compiler("/bin/sh", &["-c", script], Duration::from_millis(200));
    assert_eq!(
        mute,
        CompileError::TooLong {
            limit: Duration::from_millis(200)
        }
    );
}

#[test]
fn precompiled_forms_load_only_where_they_fit() {
    let compiled = block(host().compile(prebuilt("hash-route"))).unwrap();
    let load = |artifact: &[u8]| host().load(compiled.version, artifact);
    assert_eq!(
        load(&compiled.artifact).unwrap().version(),
        compiled.version
    );

    let other = PluginVersion::new([1; 32]);
    let result = host().load(other, &compiled.artifact);
    assert!(matches!(result, Err(LoadError::OtherVersion { .. })));
    let mut stale = compiled.artifact.clone();
    stale[8] ^= 1;
    assert!(matches!(load(&stale), Err(LoadError::Stale)));
    let mut damaged = compiled.artifact.clone();
    *damaged.last_mut().unwrap() ^= 1;
    assert!(matches!(load(&damaged), Err(LoadError::Damaged { .. })));
    assert!(matches!(
        load(&compiled.artifact[..100]),
        Err(LoadError::Damaged { .. })
    ));
    assert!(matches!(load(b""), Err(LoadError::Damaged { .. })));
}

#[test]
fn code_that_can_be_read_again_is_in_memory_only_while_it_is_needed() {
    let host = Host::new(HostConfig {
        idle: Duration::from_millis(1),
        ..config()
    });
    let host = host.unwrap();
    let compiled = block(host.compile(prebuilt("hostile/traps-on-poison"))).unwrap();
    let (plugin, artifact) = (compiled.plugin, Arc::new(Mutex::new(compiled.artifact)));
    let bound = host.bind(&plugin, Hook::Filter, &[], &[], Limits::default());
    let bound = block(bound).unwrap();
    let weak = plugin.downgrade();
    let (source, hidden) = (artifact.clone(), Arc::new(AtomicBool::new(false)));
    let is_hidden = hidden.clone();
    let read = move || match is_hidden.load(Ordering::Relaxed) {
        true => Err(io::Error::other("it is hidden")),
        false => Ok(source.lock().unwrap().clone()),
    };
    let was_damaged = Arc::new(AtomicBool::new(false));
    let says = was_damaged.clone();
    plugin.read_again_by(read, move || says.store(true, Ordering::Relaxed));
    drop(plugin);
    let unloaded = || wait_until(|| weak.upgrade().is_none());
    let ask = || block(bound.filter(values(&["fine", "evil"])));

    unloaded();
    assert!(weak.is_known());
    let verdicts = ask().expect("it is read again");
    assert_eq!(verdicts.failures.len(), 1);
    unloaded();

    // What cannot be read now may be read the next time.
    assert!(!was_damaged.load(Ordering::Relaxed));
    hidden.store(true, Ordering::Relaxed);
    let error = ask().expect_err("there is no code");
    assert!(error.is_retryable(), "{error}");
    hidden.store(false, Ordering::Relaxed);
    ask().expect("it can be read again");
    unloaded();

    // Or it is gone: who hears of it brings what is compiled anew.
    hidden.store(true, Ordering::Relaxed);
    was_damaged.store(false, Ordering::Relaxed);
    ask().expect_err("there is no code");
    assert!(was_damaged.swap(false, Ordering::Relaxed), "nobody heard");
    let anew = host.load(bound.version(), &artifact.lock().unwrap());
    let plugin = weak.unless_known(anew.unwrap());
    ask().expect("it has come back");
    drop(plugin);
    hidden.store(false, Ordering::Relaxed);
    unloaded();

    // A damaged form never becomes code; another binding brings what is sound.
    let sound = std::mem::take(&mut *artifact.lock().unwrap());
    let error = ask().expect_err("there is no code");
    assert!(error.is_retryable(), "{error}");
    assert_eq!(
        error.to_string(),
        "its compiled code cannot be read again: the precompiled form is damaged (it is shorter \
         than its header); compile the component again; if that lasts, bind the plugin anew"
    );
    assert!(was_damaged.load(Ordering::Relaxed), "somebody hears of it");
    assert_eq!(bound.stats().quarantined, None);
    let loaded = host.load(bound.version(), &sound).unwrap();
    let plugin = weak.unless_known(loaded);
    ask().expect("there is code as long as others use it");
    drop(plugin);

    *artifact.lock().unwrap() = sound;
    unloaded();
    weak.pin().unwrap();
    artifact.lock().unwrap().clear();
    wait_until(|| bound.stats().instances == 0);
    ask().expect("what is pinned stays");
    drop(bound);
    wait_until(|| !weak.is_known());
}

/// Who sweeps what is idle may have it for a moment.
fn wait_until(done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(60), "it never is");
        std::thread::yield_now();
    }
}

#[test]
fn a_plugin_is_loaded_as_long_as_somebody_has_it() {
    let compiled = block(host().compile(prebuilt("hostile/traps-on-poison"))).unwrap();
    let plugin = compiled.plugin.downgrade();
    let bound = bind(&compiled.plugin, Hook::Filter, &[], &[]);
    drop(compiled);
    let again = plugin.upgrade().expect("its binding has it");
    assert_eq!(again.version(), bound.version());
    drop((again, bound));
    wait_until(|| plugin.upgrade().is_none());
}
