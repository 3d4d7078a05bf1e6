//! Damaged components on the whole way that an upload takes: the compiler's process, and for those
//! that are still components, loading, binding and calling. The unit tests of `compile/child.rs` do
//! the first part of it many more times.

use crate::dice::{Dice, rounds, seed};
use crate::mutations::damaged;
use crate::support::{block, config, host_with, limits, prebuilt, values};
use std::time::Duration;
use weir_host::{Attempt, CompileError, Host, HostConfig};
use weir_wire::plugin::Hook;

/// Damaged components for each of two compilers.
const ROUNDS: u64 = 150;
/// Small ones, and some of what the kit builds, so that all hooks are among them.
const SOUND: [&str; 10] = [
    "hostile/keys-trap-on-poison",
    "hostile/routes-trap-on-poison",
    "hostile/maps-trap-on-poison",
    "hostile/decides-for-ever",
    "hostile/later-version",
    "hostile/puppet",
    "tag-filter",
    "record-key",
    "upper-case",
    "backoff",
];

#[derive(Debug, Default)]
struct Tally {
    refused: u64,
    limited: u64,
    compiled: u64,
    bound: u64,
}

/// Whatever still is a plugin may do what it likes with a record.
fn run(host: &Host, component: Vec<u8>, tally: &mut Tally, seed: u64) {
    let compiled = match block(host.compile(component.into())) {
        Ok(compiled) => compiled,
        Err(CompileError::Invalid { message }) => {
            assert!(!message.is_empty(), "seed {seed}");
            tally.refused += 1;
            return;
        }
        Err(CompileError::Limit { .. } | CompileError::TooLong { .. }) => {
            tally.limited += 1;
            return;
        }
        // A crash of the compiler, above all.
        Err(other) => panic!("seed {seed}: {other}"),
    };
    tally.compiled += 1;
    let plugin = host.load(compiled.version, &compiled.artifact).unwrap();
    for hook in plugin.hooks() {
        let settings = [("tags".to_owned(), "UA".to_owned())];
        let settings = if *hook == Hook::Filter {
            &settings[..]
        } else {
            &[]
        };
        let bound = block(host.bind(&plugin, *hook, settings, &[], limits()));
        let Ok(bound) = bound else { continue };
        tally.bound += 1;
        let input = values(&["one"]);
        let attempt = Attempt {
            number: 1,
            message: "no".to_owned(),
        };
        // Any answer will do: that there is one is what counts.
        let answered = match hook {
            Hook::Filter => block(bound.filter(input)).map(drop),
            Hook::Key => block(bound.keys(input)).map(drop),
            Hook::Route => block(bound.route(input)).map(drop),
            Hook::Transform => block(bound.transform(input)).map(drop),
            Hook::Project => block(bound.project(input)).map(drop),
            _ => block(bound.decide(input, vec![attempt])).map(drop),
        };
        if let Err(error) = answered {
            assert!(!error.to_string().is_empty(), "seed {seed}");
        }
    }
}

#[test]
fn damaged_components_are_refused_or_run_like_any_other() {
    let sound = SOUND.map(prebuilt);
    let compiler = |number: u64| {
        let host = host_with(HostConfig {
            compile_cpu: Duration::from_secs(2),
            compile_memory: 512 << 20,
            ..config()
        });
        let mut tally = Tally::default();
        for round in 0..rounds(ROUNDS) {
            let seed = seed("mutated", 2 * round + number);
            let mut dice = Dice::new(seed);
            let (one, other) = (dice.below(SOUND.len()), dice.below(SOUND.len()));
            let component = damaged(&mut dice, &sound[one], &sound[other]);
            run(&host, component, &mut tally, seed);
        }
        println!("{tally:?}");
        assert!(tally.refused > rounds(ROUNDS) / 4, "{tally:?}");
        assert!(tally.compiled > rounds(ROUNDS) / 20, "{tally:?}");
    };
    std::thread::scope(|scope| {
        let compiler = &compiler;
        let threads = [0, 1].map(|number| scope.spawn(move || compiler(number)));
        for thread in threads {
            thread.join().unwrap();
        }
    });
}
