//! Who has to wait for whom: what a call used of the processor counts, not how long it took.

use crate::support::{block, config, endless, in_time, limits, prebuilt, values};
use std::fmt::{self, Write};
use std::sync::OnceLock;
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use weir_host::{Bound, Host, HostConfig, Limits};
use weir_wire::plugin::Hook;

/// Takes plugin threads off the processor: they wait whenever that plugin has logged something.
struct Busy;

/// The version of that plugin, as log lines have it.
static DELAYED: OnceLock<String> = OnceLock::new();

/// Several times what makes a binding slow, were it processor time.
const DELAY: Duration = Duration::from_millis(60);

#[derive(Default)]
struct Version(String);

impl Visit for Version {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "version" {
            write!(self.0, "{value:?}").unwrap();
        }
    }
}

impl Subscriber for Busy {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "weir::plugin" && metadata.is_event()
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut version = Version::default();
        event.record(&mut version);
        if DELAYED.get() == Some(&version.0) {
            let (_sender, nothing_comes) = sync_channel::<()>(0);
            nothing_comes.recv_timeout(DELAY).unwrap_err();
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn filter_on(host: &Host, name: &str, limits: Limits) -> Bound {
    let plugin = block(host.compile(prebuilt(name))).unwrap().plugin;
    block(host.bind(&plugin, Hook::Filter, &[], &[], limits)).unwrap()
}

#[test]
fn a_plugin_whose_thread_waits_for_the_processor_is_not_slow() {
    in_time(|| {
        let host = Host::new(HostConfig {
            threads: 2,
            ..config()
        });
        let host = host.unwrap();
        let looping = filter_on(&host, "hostile/chatters", endless());
        // It logs a line at each call, and keeps every record at once.
        let innocent = filter_on(&host, "hostile/logs-huge-lines", limits());
        tracing::subscriber::set_global_default(Busy).unwrap();
        DELAYED.set(innocent.version().short()).unwrap();
        std::thread::scope(|scope| {
            // The one place for slow calls is taken for good.
            let call = scope.spawn(|| block(looping.filter(values(&["x"]))));
            while looping.log_lines().is_empty() {
                std::thread::yield_now();
            }
            for _ in 0..5 {
                let verdicts = block(innocent.filter(values(&["x"]))).unwrap();
                assert_eq!(verdicts.values, [true]);
            }
            let stats = innocent.stats();
            assert!(stats.call_time > DELAY, "its thread did wait: {stats:?}");
            assert!(!call.is_finished());
            drop(host);
            assert!(call.join().unwrap().is_err());
        });
    });
}
