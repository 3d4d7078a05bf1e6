//! Components that break the rules: each is stopped in bounded time and memory with a sentence
//! that says why, only the guilty record is blamed, and the host lives.

use crate::support::{
    bind, block, config, endless, filter_on, host, host_with, hostile, in_time, limits, patient,
    poisoned, sample, tagged, try_bind, values,
};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use weir_host::{BindError, Bound, CallError, Host, HostConfig, Input, Limits, LogLevel};
use weir_wire::plugin::Hook;

/// Far more than anything here takes, far less than for ever.
const PATIENCE: Duration = Duration::from_secs(120);

fn filter(name: &str) -> Bound {
    bind(&hostile(name), Hook::Filter, &[], &[])
}

/// What the only record of a batch fails of.
fn failure(bound: &Bound) -> String {
    let verdicts = block(bound.filter(values(&["x"]))).unwrap();
    assert_eq!(verdicts.values, [false]);
    assert_eq!(verdicts.failures.len(), 1);
    verdicts.failures[0].message.clone()
}

#[test]
fn one_guilty_record_in_a_thousand_is_found_and_the_rest_goes_on() {
    // Where others are slow a call may be begun twice, and its parts are counted.
    let host = host_with(config());
    let bound = filter_on(&host, "hostile/traps-on-poison", &[], limits()).unwrap();
    for guilty in [
        &[0][..],
        &[999],
        &[500],
        &[3, 4, 700],
        &[1, 2, 3, 4, 5, 6, 7, 8],
    ] {
        let before = bound.stats().plugin_calls;
        let verdicts = block(bound.filter(poisoned(1_000, guilty))).unwrap();
        let found: Vec<usize> = verdicts.failures.iter().map(|f| f.index as usize).collect();
        assert_eq!(found, guilty);
        assert!(
            verdicts.failures[0]
                .message
                .starts_with("the plugin trapped: ")
        );
        for (n, kept) in verdicts.values.iter().enumerate() {
            assert_eq!(*kept, !guilty.contains(&n), "{n}");
        }
        let calls = bound.stats().plugin_calls - before;
        assert!(
            calls <= 21 * guilty.len() as u64,
            "{calls} calls for {guilty:?}"
        );
    }
    let stats = bound.stats();
    assert_eq!((stats.records_in, stats.records_failed), (5_000, 14));
    assert!(
        stats.traps > 0 && !stats.impure && stats.quarantined.is_none(),
        "{stats:?}"
    );
}

#[test]
fn more_than_eight_guilty_records_quarantine_the_binding() {
    let bound = filter("traps-on-poison");
    let nine: Vec<usize> = (0..9).map(|n| n * 100).collect();
    let judge = || block(bound.filter(poisoned(1_000, &nine))).unwrap_err();
    // It rests for a second, and twice as long after each time more that it is tried.
    let (mut tries, mut error) = (0, judge());
    while let CallError::TooManyFailures { failures, .. } = &error {
        let found: Vec<_> = failures.iter().map(|f| f.index as usize).collect();
        assert_eq!(found, nine);
        (tries, error) = (tries + 1, judge());
    }
    assert_eq!(bound.stats().quarantines, tries);
    assert!(
        matches!(error, CallError::Quarantined { .. }) && error.is_retryable(),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains("more than 8 records of one batch failed"),
        "{error}"
    );
    // Bound anew, it is tried again.
    assert!(block(filter("traps-on-poison").filter(poisoned(10, &[]))).is_ok());
}

#[test]
fn everything_that_traps_or_lies_says_so() {
    let wasm = "wasm `unreachable` instruction executed";
    assert!(failure(&filter("traps")).contains(wasm));
    let answers = [
        ("too-few", "the plugin answered 0 verdicts for 1 records"),
        ("too-many", "the plugin answered 2 verdicts for 1 records"),
        (
            "out-of-range",
            "the plugin answered 7 for record 0, neither 0 nor 1",
        ),
        (
            "huge-answer",
            "the plugin was stopped: it returned or logged more bytes than it may",
        ),
    ];
    for (name, message) in answers {
        assert_eq!(failure(&filter(name)), message);
    }
    for name in ["wild-pointer", "wild-error"] {
        let message = failure(&filter(name));
        assert!(
            message.starts_with("the plugin trapped: ") && message.contains("bounds"),
            "{message}"
        );
    }
}

#[test]
fn keys_and_routes_out_of_range_are_refused() {
    let input = values(&["a", "bb"]);
    for (name, message) in [
        (
            "keys-outside",
            "the plugin answered a key outside its bytes for record 0",
        ),
        ("keys-odd", "the plugin answered 2 verdicts for 1 records"),
    ] {
        let bound = bind(&hostile(name), Hook::Key, &[], &[]);
        let verdicts = block(bound.keys(input.clone())).unwrap();
        let messages: Vec<_> = verdicts
            .failures
            .iter()
            .map(|f| f.message.as_str())
            .collect();
        assert_eq!(messages, [message, message]);
    }
    let plugin = hostile("routes-undeclared");
    let bound = bind(&plugin, Hook::Route, &[], &["a", "b"]);
    let verdicts = block(bound.route(input.clone())).unwrap();
    assert_eq!(
        verdicts.failures[1].message,
        "the plugin answered route 2 for record 0, but 2 are declared"
    );
    for declared in [3, 64] {
        let bound = bind(&plugin, Hook::Route, &[], &vec!["x"; declared]);
        let verdicts = block(bound.route(input.clone())).unwrap();
        assert!(verdicts.failures.is_empty());
        assert!(verdicts.values.iter().all(|set| set.positions().eq([2])));
    }
}

#[test]
fn an_endless_loop_is_stopped_by_its_own_processor_time() {
    let bound = filter("loops");
    let start = Instant::now();
    assert_eq!(
        failure(&bound),
        "the plugin was stopped: it used more than its 100ms of processor time"
    );
    assert!(start.elapsed() < PATIENCE);
    let stats = bound.stats();
    assert!(
        stats.limits >= 1 && stats.cpu >= Duration::from_millis(100),
        "{stats:?}"
    );
    assert!(stats.cpu < Duration::from_secs(5), "{stats:?}");
}

#[test]
fn endless_loops_among_others_are_found_like_traps() {
    let bound = filter("loops-on-poison");
    let verdicts = block(bound.filter(poisoned(64, &[5]))).unwrap();
    assert_eq!(verdicts.failures.len(), 1);
    assert_eq!(verdicts.failures[0].index, 5);
    assert_eq!(verdicts.values.iter().filter(|kept| **kept).count(), 63);

    // All of them: given up after a bounded time, not after 1000 × 100 ms.
    let all: Vec<usize> = (0..1_000).collect();
    let error = block(bound.filter(poisoned(1_000, &all))).unwrap_err();
    assert!(
        matches!(error, CallError::TooManyFailures { .. }),
        "{error}"
    );
    assert!(
        bound.stats().cpu < Duration::from_secs(15),
        "{:?}",
        bound.stats()
    );
}

#[test]
fn an_interpreter_that_loops_before_or_in_configure_cannot_be_bound() {
    let refused = |name: &str| {
        let bound = try_bind(&hostile(name), Hook::Filter, &[], &[], limits());
        bound.map(drop).unwrap_err()
    };
    let stopped = "the plugin was stopped: it used more than its 100ms of processor time";
    for name in ["starts-looping", "configure-loops"] {
        assert_eq!(
            refused(name),
            BindError::Start {
                message: stopped.to_owned()
            }
        );
    }
    assert!(
        refused("configure-traps")
            .to_string()
            .contains("unreachable")
    );
    assert_eq!(
        refused("configure-refuses"),
        BindError::Refused {
            message: "no configuration pleases me".to_owned()
        }
    );
}

#[test]
fn memory_is_bounded_and_comes_back() {
    let idle = Duration::from_millis(1);
    let host = host_with(HostConfig { idle, ..config() });
    let bound = filter_on(&host, "hostile/eats-memory", &[], patient()).unwrap();
    let message = "the plugin was stopped: it needs more than its 67108864 bytes of memory";
    assert_eq!(failure(&bound), message);
    for _ in 0..20 {
        bound.unquarantine();
        assert_eq!(failure(&bound), message);
    }
    let stats = bound.stats();
    assert!(
        stats.memory_max > 60 << 20 && stats.memory_max <= 64 << 20,
        "{stats:?}"
    );
    // 20 calls have touched 1.2 GiB, more than there is for all of them together.
    let start = Instant::now();
    while host.memory_used() > 0 {
        assert!(start.elapsed() < PATIENCE, "{} bytes", host.memory_used());
        std::thread::yield_now();
    }

    let growing = filter("grows");
    for _ in 0..20 {
        assert_eq!(
            block(growing.filter(values(&["x"]))).unwrap().values,
            [true]
        );
        assert_eq!(
            growing.stats().instances,
            0,
            "an instance that has grown is thrown away"
        );
    }
}

#[test]
fn what_fails_only_in_company_is_impure() {
    let bound = filter("only-together");
    match block(bound.filter(values(&["a", "b", "c"]))).unwrap_err() {
        CallError::Impure {
            first: 1,
            last: 2,
            message,
        } => {
            assert!(message.contains("unreachable"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    assert!(bound.stats().impure);
}

#[test]
fn what_fails_by_chance_is_impure_but_has_verdicts() {
    let bound = filter("second-call-traps");
    let input = values(&["a", "b", "c"]);
    for _ in 0..3 {
        let verdicts = block(bound.filter(input.clone())).unwrap();
        assert_eq!(
            (verdicts.values, verdicts.failures),
            (vec![true; 3], Vec::new())
        );
    }
    assert!(bound.stats().impure);
}

#[test]
fn what_answers_differently_on_a_fresh_instance_is_impure() {
    let many: Vec<&str> = vec!["x"; 20_000];
    let bound = filter("counts-calls");
    block(bound.filter(values(&many))).unwrap();
    assert!(bound.stats().impure);
    let pure = bind(
        &sample("json-filter"),
        Hook::Filter,
        &[("where", "a = 1")],
        &[],
    );
    block(pure.filter(values(&vec!["{}"; 20_000]))).unwrap();
    assert!(!pure.stats().impure);
}

#[test]
fn the_first_batch_that_can_be_is_run_again_whatever_became_of_calls_before() {
    let bound = filter("counts-calls");
    block(bound.filter(values::<&str>(&[]))).unwrap();
    assert!(!bound.stats().impure, "there was nothing to be asked");
    block(bound.filter(values(&["x"; 20_000]))).unwrap();
    assert!(bound.stats().impure);
}

#[test]
fn who_provides_for_failures_calls_again_at_once() {
    // Short, but long beside the time between two looks at the clock: all calls together have a
    // hundred times as much, of which each that is stopped takes that time, too.
    let limits = Limits {
        cpu: Duration::from_millis(10),
        ..limits()
    };
    let looping = try_bind(&hostile("loops-on-poison"), Hook::Filter, &[], &[], limits).unwrap();
    let trapping = filter("traps-on-poison");
    let too_many = |bound: &Bound| match block(bound.filter(values(&["evil"; 16]))) {
        Err(CallError::TooManyFailures { at_limit, .. }) => at_limit,
        other => panic!("{other:?}"),
    };
    for (bound, is_at_limit) in [(&trapping, false), (&looping, true)] {
        for quarantines in 1..=9 {
            assert_eq!(too_many(bound), is_at_limit);
            assert_eq!(bound.stats().quarantines, quarantines);
            bound.overlook_failures();
            assert_eq!(bound.stats().quarantined, None);
        }
        block(bound.filter(values(&["good"]))).unwrap();
    }
}

#[test]
fn a_batch_too_slow_for_one_call_is_judged_in_smaller_ones() {
    let bound = filter("slow-per-record");
    let input = values(&["x"; 100]);
    let verdicts = block(bound.filter(input.clone())).unwrap();
    assert_eq!(
        (verdicts.values, verdicts.failures.len()),
        (vec![true; 100], 0)
    );
    let first = bound.stats();
    assert!(!first.impure, "{first:?}");
    block(bound.filter(input)).unwrap();
    // The second time it knows how many records fit.
    assert!(
        bound.stats().limits - first.limits <= first.limits,
        "{:?}",
        bound.stats()
    );
}

#[test]
fn chatter_is_bounded_and_kept() {
    // Where others are slow a call may be begun twice, and then it says everything twice.
    let host = host_with(config());
    let bound = filter_on(&host, "hostile/chatters", &[], limits()).unwrap();
    let start = Instant::now();
    let verdicts = block(bound.filter(values(&["x"]))).unwrap();
    assert_eq!(verdicts.failures.len(), 1);
    let lines = bound.log_lines();
    assert_eq!(
        (lines[0].level, lines[0].message.as_str()),
        (LogLevel::Info, ".".repeat(100).as_str())
    );
    let suppressed = bound.stats().log_lines_suppressed;
    let taken = lines.last().unwrap().number;
    assert_eq!(taken + suppressed, 1_000, "{taken} + {suppressed}");
    // A hundred in a second, and as many saved up.
    let allowed = 100.0 * (1.0 + start.elapsed().as_secs_f64());
    assert!((taken as f64) <= allowed, "{taken} of {allowed}");
}

#[test]
fn a_later_minor_version_of_the_contract_fits() {
    let bound = filter("later-version");
    let verdicts = block(bound.filter(values(&["x", "y"]))).unwrap();
    assert_eq!(
        (verdicts.values, verdicts.failures),
        (vec![true; 2], vec![])
    );
    assert_eq!(bound.log_lines()[0].message, "hello");
}

#[test]
fn slow_plugins_do_not_stop_others() {
    in_time(|| {
        let slow: Vec<Bound> = (0..3).map(|_| filter("slow")).collect();
        let quick = bind(&sample("tag-filter"), Hook::Filter, &[("tags", "UA")], &[]);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // As long as it takes: who waits for the slow ones to end waits for ever.
            for bound in slow.iter().flat_map(|bound| std::iter::repeat_n(bound, 16)) {
                let done = &done;
                scope.spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        block(bound.filter(values(&["x"]))).unwrap();
                    }
                });
            }
            while slow.iter().any(|bound| bound.stats().calls == 0) {
                std::thread::yield_now();
            }
            for _ in 0..20 {
                let verdicts = block(quick.filter(tagged(&[Some("UA"), None])));
                let verdicts = verdicts.inspect_err(|_| done.store(true, Ordering::Relaxed));
                assert_eq!(verdicts.unwrap().values, [true, false]);
            }
            done.store(true, Ordering::Relaxed);
        });
    });
}

#[test]
fn more_bindings_than_instances_take_turns() {
    let plugin = sample("tag-filter");
    let bounds: Vec<Bound> = (0..100)
        .map(|_| bind(&plugin, Hook::Filter, &[("tags", "UA")], &[]))
        .collect();
    for bound in &bounds {
        assert_eq!(
            block(bound.filter(tagged(&[Some("UA")]))).unwrap().values,
            [true]
        );
    }
}

#[test]
fn what_a_plugin_says_does_nothing_to_the_terminal_that_shows_it() {
    let said =
        "the plugin trapped: \\u{1b}[2J\\u{1b}[31mall is well\\u{7} weir: \\u{202e}done\\u{9b}";
    let bound = filter("acts-on-terminals");
    let verdicts = block(bound.filter(values(&["x"]))).unwrap();
    assert_eq!(verdicts.failures[0].message, said);
    assert_eq!(bound.stats().last_error.as_deref(), Some(said));
    let line = bound.log_lines().remove(0).message;
    assert!(said.ends_with(&line), "{line:?}");
    let nine = values(&["x"; 9]);
    let error = block(bound.filter(nine)).unwrap_err().to_string();
    assert!(error.contains(said), "{error}");
    let resting = bound.stats().quarantined.unwrap().message;
    assert!(!resting.contains(char::is_control), "{resting:?}");
}

#[test]
fn idle_bindings_hold_no_instance() {
    let host = Host::new(HostConfig {
        idle: Duration::from_millis(1),
        ..config()
    });
    let host = host.unwrap();
    let compiled = block(host.compile(crate::support::prebuilt("tag-filter"))).unwrap();
    let plugin = host.load(compiled.version, &compiled.artifact).unwrap();
    let config = [("tags".to_owned(), "UA".to_owned())];
    let bound = block(host.bind(&plugin, Hook::Filter, &config, &[], limits())).unwrap();
    let start = Instant::now();
    while bound.stats().instances > 0 {
        assert!(start.elapsed() < PATIENCE, "the instance is still there");
        std::thread::yield_now();
    }
    assert_eq!(
        block(bound.filter(tagged(&[Some("UA")]))).unwrap().values,
        [true]
    );
}

#[test]
fn dropping_the_host_stops_running_calls() {
    let host = Host::new(config()).unwrap();
    let compiled = block(host.compile(crate::support::prebuilt("hostile/chatters"))).unwrap();
    let plugin = host.load(compiled.version, &compiled.artifact).unwrap();
    let bound = block(host.bind(&plugin, Hook::Filter, &[], &[], endless())).unwrap();
    let input: Input = values(&["x"]);
    std::thread::scope(|scope| {
        // One runs, the others wait in the queue or before it.
        let calls: Vec<_> = (0..20)
            .map(|_| scope.spawn(|| block(bound.filter(input.clone()))))
            .collect();
        while bound.log_lines().is_empty() {
            std::thread::yield_now();
        }
        drop(host);
        for call in calls {
            assert_eq!(call.join().unwrap(), Err(CallError::Shutdown));
        }
    });
    assert_eq!(block(bound.filter(input)), Err(CallError::Shutdown));
}

#[test]
fn wasi_is_there_but_does_nothing() {
    // Its exports trap as soon as they are called, so it can be loaded but not bound.
    let plugin = hostile("wasi-import");
    assert_eq!(plugin.hooks(), [Hook::Filter]);
    let error = try_bind(&plugin, Hook::Filter, &[], &[], limits())
        .map(drop)
        .unwrap_err();
    assert!(matches!(error, BindError::Start { .. }), "{error}");
    let _ = host();
}
