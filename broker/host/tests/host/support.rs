//! A host with the test compiler, the prebuilt components, and batches to call them with.

use bytes::Bytes;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;
use weir_host::{BindError, Bound, CompilerCommand, Host, HostConfig, Input, Limits, Plugin};
use weir_wire::batch::{BatchBuilder, Compression, HEADER_LEN, NewRecord};
use weir_wire::id::Timestamp;
use weir_wire::plugin::Hook;

/// Runs a future of the host, which needs no runtime of its own.
pub fn block<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(future)
}

pub fn config() -> HostConfig {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_weir-compile"));
    let compiler = Some(CompilerCommand {
        program,
        arguments: Vec::new(),
    });
    HostConfig {
        compiler,
        ..HostConfig::default()
    }
}

/// The host that tests share.
pub fn host() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| Host::new(config()).unwrap())
}

/// A host of one's own, for what others would notice or make hard to see.
pub fn host_with(config: HostConfig) -> Host {
    Host::new(config).unwrap()
}

/// Where the components are: the committed ones, or those that WEIR_PREBUILT names.
pub fn prebuilt_folder() -> PathBuf {
    let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/prebuilt");
    let folder = std::env::var("WEIR_PREBUILT").unwrap_or_else(|_| committed.to_owned());
    PathBuf::from(folder)
}

/// The bytes of a sample component.
pub fn prebuilt(name: &str) -> Bytes {
    let file = prebuilt_folder().join(format!("{name}.wasm"));
    Bytes::from(std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())))
}

/// Compiles and loads a component, once per test run.
pub fn plugin(name: &str, component: impl FnOnce() -> Bytes) -> Plugin {
    static LOADED: Mutex<Option<HashMap<String, Plugin>>> = Mutex::new(None);
    let mut loaded = LOADED
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let loaded = loaded.get_or_insert_default();
    if let Some(plugin) = loaded.get(name) {
        return plugin.clone();
    }
    let compiled = block(host().compile(component())).unwrap_or_else(|e| panic!("{name}: {e}"));
    let plugin = host().load(compiled.version, &compiled.artifact).unwrap();
    assert_eq!(plugin.hooks(), compiled.hooks);
    loaded.insert(name.to_owned(), plugin.clone());
    plugin
}

pub fn sample(name: &str) -> Plugin {
    plugin(name, || prebuilt(name))
}

/// A component that breaks the rules.
pub fn hostile(name: &str) -> Plugin {
    sample(&format!("hostile/{name}"))
}

/// A batch of `count` records of which those at `guilty` have the value "evil".
pub fn poisoned(count: usize, guilty: &[usize]) -> Input {
    let value = |n| {
        if guilty.contains(&n) {
            "evil".to_owned()
        } else {
            format!("good {n}")
        }
    };
    values(&(0..count).map(value).collect::<Vec<_>>())
}

pub fn bind(plugin: &Plugin, hook: Hook, config: &[(&str, &str)], routes: &[&str]) -> Bound {
    try_bind(plugin, hook, config, routes, limits()).unwrap()
}

pub fn try_bind(
    plugin: &Plugin,
    hook: Hook,
    config: &[(&str, &str)],
    routes: &[&str],
    limits: Limits,
) -> Result<Bound, BindError> {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let config: Vec<_> = config.iter().map(pair).collect();
    let routes: Vec<_> = routes.iter().map(|name| (*name).to_owned()).collect();
    block(host().bind(plugin, hook, &config, &routes, limits))
}

/// A filter on a host of its own.
pub fn filter_on(
    host: &Host,
    name: &str,
    settings: &[(&str, &str)],
    limits: Limits,
) -> Result<Bound, BindError> {
    let compiled = block(host.compile(prebuilt(name))).unwrap();
    let plugin = host.load(compiled.version, &compiled.artifact).unwrap();
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let settings: Vec<_> = settings.iter().map(pair).collect();
    block(host.bind(&plugin, Hook::Filter, &settings, &[], limits))
}

/// Limits as they are by default, but for the clock: on a busy machine it must not be what stops a
/// plugin that is to be stopped by another limit, or by none.
pub fn limits() -> Limits {
    Limits {
        wall: Duration::from_secs(60),
        ..Limits::default()
    }
}

/// Limits for what is to run as long as the test wants.
pub fn endless() -> Limits {
    let hours = Duration::from_secs(36_000);
    Limits {
        cpu: hours,
        wall: hours,
        ..Limits::default()
    }
}

/// Runs what never ends if the host fails, on a thread of its own; that is a failure of the test.
pub fn in_time<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, ended) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || done.send(what()));
    let result = ended.recv_timeout(Duration::from_secs(120));
    result.expect("it ends, and without a panic")
}

/// Limits for what is stopped by its memory: a machine that is slow at finding pages must not have
/// it stopped by its time first.
pub fn patient() -> Limits {
    let limits = limits();
    Limits {
        cpu: limits.wall,
        ..limits
    }
}

/// Records with only values.
pub fn values<V: AsRef<[u8]>>(values: &[V]) -> Input {
    let records = values.iter().map(|value| NewRecord {
        value: Some(value.as_ref()),
        ..NewRecord::default()
    });
    input(records)
}

/// Records with only a `tag` header; `None` has none.
pub fn tagged(tags: &[Option<&str>]) -> Input {
    let headers: Vec<_> = tags
        .iter()
        .map(|tag| tag.map(|tag| [("tag", tag.as_bytes())]))
        .collect();
    let records = headers.iter().map(|headers| NewRecord {
        headers: headers.as_ref().map_or(&[], |headers| &headers[..]),
        ..NewRecord::default()
    });
    input(records)
}

pub fn input<'a>(records: impl Iterator<Item = NewRecord<'a>>) -> Input {
    let mut builder = BatchBuilder::default();
    let mut count = 0;
    for record in records {
        builder.push(Timestamp::new(0), &record);
        count += 1;
    }
    let batch = builder.finish(Compression::None).unwrap();
    Input {
        base_timestamp: Timestamp::new(0),
        count,
        records: Bytes::from(batch).slice(HEADER_LEN..),
    }
}
