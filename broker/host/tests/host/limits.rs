//! Limits that several plugins share, quarantine and its end, and what a busy machine does to the
//! innocent: nothing but time.

use crate::support::{
    bind, block, config, endless, filter_on, host_with, hostile, in_time, limits, sample, tagged,
    try_bind, values,
};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use weir_host::{BindError, Bound, CallError, Host, HostConfig, Limits};
use weir_wire::plugin::Hook;

/// Far more than anything here takes, far less than for ever.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn a_plugin_stopped_at_its_limit_again_and_again_rests_until_it_is_forgiven() {
    let host = host_with(config());
    let bound = filter_on(&host, "hostile/loops", &[], limits()).unwrap();
    let one = values(&["x"]);
    for calls in 1..=8 {
        assert_eq!(bound.stats().quarantined, None, "after {calls} calls");
        let verdicts = block(bound.filter(one.clone())).unwrap();
        assert_eq!(verdicts.failures.len(), 1);
    }
    // It rests for a second, and twice as long with each call more that comes after that.
    let mut calls = 8;
    let quarantine = loop {
        match block(bound.filter(one.clone())) {
            Ok(_) => calls += 1,
            Err(error) => {
                assert!(error.is_retryable(), "{error}");
                if let Some(quarantine) = bound.stats().quarantined {
                    break quarantine;
                }
            }
        }
    };
    assert_eq!(
        quarantine.message,
        format!(
            "in {calls} calls in a row a record was stopped at a limit: the plugin was stopped: it \
             used more than its 100ms of processor time"
        )
    );
    let rests = 1 << (calls - 8);
    assert!(quarantine.left <= Duration::from_secs(rests) && quarantine.since.value() > 0);
    assert_eq!(bound.stats().quarantines, calls - 7);

    bound.unquarantine();
    assert_eq!(bound.stats().quarantined, None);
    let verdicts = block(bound.filter(one)).unwrap();
    assert_eq!(verdicts.failures.len(), 1, "it is called again");
    assert_eq!(
        bound.stats().quarantined,
        None,
        "and counted from the beginning"
    );
}

#[test]
fn memory_that_others_have_is_nobodys_fault() {
    // The hostile components have half a mebibyte each.
    let host = Host::new(HostConfig {
        memory_total: 768 << 10,
        ..config()
    })
    .unwrap();
    let one = values(&["x"]);
    let busy = filter_on(&host, "hostile/chatters", &[], endless()).unwrap();
    assert_eq!(host.memory_used(), 512 << 10);
    // Idle instances make room.
    let quiet = filter_on(&host, "hostile/traps-on-poison", &[], limits()).unwrap();
    assert_eq!((busy.stats().instances, quiet.stats().instances), (0, 1));
    assert_eq!(host.memory_used(), 512 << 10);
    // This one would not have room if it were alone.
    let error = filter_on(&host, "hostile/memory-large", &[], limits())
        .map(drop)
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("it needs more than its 786432 bytes of memory"),
        "{error}"
    );
    std::thread::scope(|scope| {
        let running = scope.spawn(|| block(busy.filter(one.clone())));
        while busy.log_lines().is_empty() {
            std::thread::yield_now();
        }
        let error = block(quiet.filter(one.clone())).unwrap_err();
        assert!(
            matches!(error, CallError::Crowded { .. }) && error.is_retryable(),
            "{error}"
        );
        assert!(
            error
                .to_string()
                .starts_with("the plugins together have 524288 of the 786432 bytes of memory"),
            "{error}"
        );
        assert_eq!(
            (quiet.stats().quarantined, quiet.stats().quarantines),
            (None, 0)
        );
        assert_eq!(quiet.stats().last_error, None, "nor is it remembered");
        let refused = filter_on(&host, "hostile/grows", &[], limits())
            .map(drop)
            .unwrap_err();
        assert!(matches!(refused, BindError::Crowded { .. }), "{refused}");
        drop(host);
        assert_eq!(running.join().unwrap(), Err(CallError::Shutdown));
    });
}

#[test]
fn memory_for_one_instance_is_enough_to_answer() {
    // The component has half a mebibyte, so there is none for a second instance.
    let host = Host::new(HostConfig {
        memory_total: 768 << 10,
        ..config()
    })
    .unwrap();
    let bound = filter_on(&host, "hostile/traps-on-poison", &[], limits()).unwrap();
    for _ in 0..3 {
        // The first call is due to be repeated, and guilty records are looked for anew each time.
        let verdicts = block(bound.filter(values(&["good", "evil", "good"]))).unwrap();
        assert_eq!(verdicts.failures.len(), 1);
        let verdicts = block(bound.filter(values(&["good"]))).unwrap();
        assert_eq!(verdicts.values, [true]);
    }
    let stats = bound.stats();
    assert!(stats.quarantined.is_none() && !stats.impure, "{stats:?}");
}

#[test]
fn a_busy_machine_is_not_the_plugins_fault() {
    let bodies: Vec<String> = (0..1_000).map(|n| format!("{{\"n\":{n}}}")).collect();
    let settings = [("where", "n >= 500")];
    let bound = bind(&sample("json-filter"), Hook::Filter, &settings, &[]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        for _ in 0..20 {
            let verdicts = block(bound.filter(values(&bodies)));
            let verdicts = verdicts
                .inspect_err(|_| done.store(true, Ordering::Relaxed))
                .unwrap();
            let kept = verdicts.values.iter().filter(|kept| **kept).count();
            assert_eq!((kept, verdicts.failures.len()), (500, 0));
        }
        done.store(true, Ordering::Relaxed);
    });
    let stats = bound.stats();
    assert_eq!(
        (stats.limits, stats.quarantines, stats.impure),
        (0, 0, false)
    );
}

#[test]
fn eight_endless_loops_leave_the_innocent_their_turns() {
    let host = Host::new(config()).unwrap();
    let hostile: Vec<Bound> = (0..8)
        .map(|_| filter_on(&host, "hostile/loops", &[], limits()).unwrap())
        .collect();
    let innocent = filter_on(&host, "tag-filter", &[("tags", "UA")], limits()).unwrap();
    let (done, start) = (AtomicBool::new(false), Instant::now());
    std::thread::scope(|scope| {
        for bound in &hostile {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    // As bad as it can be: somebody forgives them each time.
                    bound.unquarantine();
                    block(bound.filter(values(&["x"]))).unwrap();
                }
            });
        }
        while hostile.iter().any(|bound| bound.stats().limits == 0) {
            std::thread::yield_now();
        }
        for _ in 0..50 {
            let verdicts = block(innocent.filter(tagged(&[Some("UA"), None])));
            let verdicts = verdicts
                .inspect_err(|_| done.store(true, Ordering::Relaxed))
                .unwrap();
            assert_eq!(
                (&verdicts.values[..], verdicts.failures.len()),
                (&[true, false][..], 0)
            );
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    let stats = innocent.stats();
    assert_eq!((stats.limits, stats.quarantines), (0, 0));
}

/// Begins a call, and gives it up as soon as the plugin has logged something.
async fn begun(bound: &Bound) {
    tokio::select! {
        biased;
        ended = bound.filter(values(&["x"])) => panic!("it loops for ever: {ended:?}"),
        _lines = bound.logs().wait_after(0) => {}
    }
}

#[test]
fn new_bindings_that_loop_for_ever_leave_the_innocent_a_thread() {
    in_time(|| {
        let host = Host::new(HostConfig {
            threads: 4,
            ..config()
        });
        let host = host.unwrap();
        let innocent = filter_on(&host, "tag-filter", &[("tags", "UA")], limits()).unwrap();
        // None has been called before: nobody knows what they are.
        let looping: Vec<Bound> = (0..6)
            .map(|_| filter_on(&host, "hostile/chatters", &[], endless()).unwrap())
            .collect();
        std::thread::scope(|scope| {
            let calls: Vec<_> = looping
                .iter()
                .flat_map(|bound| [bound, bound])
                .map(|bound| scope.spawn(|| block(bound.filter(values(&["x"])))))
                .collect();
            // All of them have begun, more than there are threads.
            while looping.iter().any(|bound| bound.log_lines().is_empty()) {
                std::thread::yield_now();
            }
            for _ in 0..1_000 {
                let verdicts = block(innocent.filter(tagged(&[Some("UA"), None])));
                assert_eq!(verdicts.unwrap().values, [true, false]);
            }
            assert!(calls.iter().all(|call| !call.is_finished()));
            drop(host);
            for call in calls {
                assert_eq!(call.join().unwrap(), Err(CallError::Shutdown));
            }
        });
    });
}

#[test]
fn what_leaves_its_thread_is_begun_anew_and_ends() {
    in_time(|| {
        let host = Host::new(HostConfig {
            threads: 2,
            ..config()
        });
        let host = host.unwrap();
        let looping = filter_on(&host, "hostile/chatters", &[], endless()).unwrap();
        let slow: Vec<Bound> = (0..3)
            .map(|_| filter_on(&host, "hostile/slow-per-record", &[], endless()).unwrap())
            .collect();
        // So many that they take many ticks, on any machine.
        let many = values(&["x"; 40]);
        let innocent = filter_on(&host, "tag-filter", &[("tags", "UA")], limits()).unwrap();
        std::thread::scope(|scope| {
            let (slow, judged) = block(async {
                let call = looping.filter(values(&["x"]));
                let mut call = std::pin::pin!(call);
                tokio::select! {
                    biased;
                    ended = &mut call => panic!("it loops for ever: {ended:?}"),
                    _lines = looping.logs().wait_after(0) => {}
                }
                // There is one place for slow ones. Should the first of these take it, the endless
                // one has to leave its thread, and takes the place when it is free again.
                let waits = slow.iter().find_map(|slow| {
                    let before = slow.stats().cpu;
                    let judged = scope.spawn(|| block(slow.filter(many.clone())));
                    while slow.stats().cpu == before {
                        std::thread::yield_now();
                    }
                    (slow.stats().calls == 0).then_some((slow, judged))
                });
                for _ in 0..100 {
                    let verdicts = innocent.filter(tagged(&[Some("UA"), None])).await;
                    assert_eq!(verdicts.unwrap().values, [true, false]);
                }
                let (slow, judged) = waits.expect("one has left its thread");
                assert!(!judged.is_finished());
                (slow, judged)
            });
            // Nobody waits for the endless call any more.
            let verdicts = judged.join().unwrap().unwrap();
            assert_eq!(
                (verdicts.values, verdicts.failures),
                (vec![true; 40], vec![])
            );
            let stats = slow.stats();
            assert_eq!(
                (stats.calls, stats.records_in, stats.last_error),
                (1, 40, None)
            );
        });
    });
}

#[test]
fn a_call_that_nobody_waits_for_is_stopped() {
    in_time(|| {
        let host = Host::new(config()).unwrap();
        let limits = Limits {
            concurrency: 1,
            ..endless()
        };
        let bound = filter_on(&host, "hostile/chatters", &[], limits).unwrap();
        block(begun(&bound));
        // No records, no call into the plugin; but before it the first one has to end.
        let verdicts = block(bound.filter(values::<&str>(&[]))).unwrap();
        assert_eq!((verdicts.values, bound.stats().calls), (Vec::new(), 1));
    });
}

#[test]
fn what_instances_cost_to_make_counts() {
    let host = host_with(config());
    let component = "hostile/configure-works-hard";
    let bound = filter_on(&host, component, &[], endless()).unwrap();
    let before = bound.stats();
    // Each part of these has an instance of its own, and calls take next to nothing.
    let verdicts = block(bound.filter(values(&["x"; 64]))).unwrap();
    assert_eq!(verdicts.values, [true; 64]);
    let stats = bound.stats();
    let parts = stats.plugin_calls - before.plugin_calls - 1;
    assert_eq!(parts, 126);
    // Nobody counts to two million, as its `configure` does, in less than a tenth of a millisecond.
    let least = Duration::from_micros(100) * 126;
    assert!(stats.cpu - before.cpu > least, "{stats:?}");
}

#[test]
fn a_call_whose_parts_take_too_long_together_is_given_up() {
    let host = host_with(config());
    let limits = Limits {
        cpu: Duration::from_millis(25),
        ..endless()
    };
    let bound = filter_on(&host, "hostile/slow-per-record", &[], limits).unwrap();
    // Some milliseconds for each: no record is guilty.
    let error = block(bound.filter(values(&["x"; 2_000]))).unwrap_err();
    assert!(
        matches!(error, CallError::TooSlow { .. }) && error.is_retryable(),
        "{error}"
    );
    let stats = bound.stats();
    assert!(stats.cpu > 100 * limits.cpu, "{stats:?}");
}

#[test]
fn parts_that_fail_together_and_not_alone_are_tried_so_often_and_no_more() {
    let component = hostile("configure-works-hard");
    let bound = try_bind(&component, Hook::Filter, &[], &[], endless()).unwrap();
    let records = vec!["x"; 1 << 14];
    let error = block(bound.filter(values(&records))).unwrap_err();
    assert!(
        matches!(error, CallError::TooManyParts { .. }) && error.is_retryable(),
        "{error}"
    );
    let calls = bound.stats().plugin_calls;
    assert!(calls < 1_100, "{calls}");
}

#[test]
fn what_waits_instead_of_computing_is_stopped_by_the_clock() {
    let limits = Limits {
        cpu: Duration::from_secs(3600),
        wall: Duration::from_millis(50),
        ..Limits::default()
    };
    let bound = try_bind(&hostile("loops"), Hook::Filter, &[], &[], limits).unwrap();
    let verdicts = block(bound.filter(values(&["x"]))).unwrap();
    let messages: Vec<_> = verdicts.failures.iter().map(|f| &*f.message).collect();
    assert_eq!(
        messages,
        ["the plugin was stopped: it took longer than 50ms"]
    );
    assert_eq!(bound.stats().limits, 1);
}

#[test]
fn nothing_is_charged_for_memory_that_cannot_come() {
    let bound = bind(&hostile("grows-in-vain"), Hook::Filter, &[], &[]);
    let verdicts = block(bound.filter(values(&["x"]))).unwrap();
    assert_eq!((verdicts.values, verdicts.failures), (vec![true], vec![]));
    assert_eq!(bound.stats().memory_max, 8 << 16);
}

#[test]
fn log_lines_can_be_followed() {
    let bound = bind(&hostile("chatters"), Hook::Filter, &[], &[]);
    let one = values(&["x"]);
    block(bound.filter(one.clone())).unwrap();
    let lines = block(bound.logs().wait_after(0));
    assert_eq!(lines.first().unwrap().number, 1);
    let last = lines.last().unwrap().number;
    std::thread::scope(|scope| {
        let follower = scope.spawn(|| block(bound.logs().wait_after(last)));
        block(bound.filter(one)).unwrap();
        let more = follower.join().unwrap();
        assert_eq!(more.first().unwrap().number, last + 1);
    });
}
