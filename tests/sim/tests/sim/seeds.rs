//! Many seeds, none with a problem.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use weir_sim::{Counts, Options, Planted, Report, run};

/// Seeds that every run of the tests plays.
pub const SEEDS: u64 = 200;

/// Threads that play seeds; each run is a single thread's.
const PLAYERS: usize = 2;

/// A number from the environment.
pub fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")),
    )
}

/// What somebody needs who wants to see it for himself.
pub fn failure(report: &Report) -> String {
    let problems: Vec<String> = report
        .problems
        .iter()
        .take(12)
        .map(ToString::to_string)
        .collect();
    let (seed, tail) = (report.seed, report.trace.tail());
    format!(
        "seed {seed} shows {} problems:\n{}\nits trace ends with\n{tail}\nsee it again: \
         WEIR_SEED={seed} cargo test -p weir-sim seeds",
        report.problems.len(),
        problems.join("\n"),
    )
}

/// Plays seeds until one shows a problem: the lowest, among those that were under way.
pub fn play(seeds: std::ops::Range<u64>, planted: Option<Planted>) -> (Counts, Option<Report>) {
    let options = Options {
        planted,
        ..Options::default()
    };
    let next = AtomicU64::new(seeds.start);
    let together = Mutex::new((Counts::default(), None::<Report>));
    std::thread::scope(|scope| {
        for _ in 0..PLAYERS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || together.lock().unwrap().1.is_some() {
                        return;
                    }
                    let report = run(seed, &options);
                    let mut together = together.lock().unwrap();
                    together.0.add(&report.counts);
                    let found = together.1.as_ref().map_or(u64::MAX, |found| found.seed);
                    if !report.problems.is_empty() && seed < found {
                        together.1 = Some(report);
                    }
                }
            });
        }
    });
    together.into_inner().unwrap()
}

#[test]
fn no_seed_shows_a_problem() {
    let seeds = match number("WEIR_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..SEEDS * number("WEIR_DEEP").unwrap_or(1),
    };
    let played = seeds.end - seeds.start;
    let (counts, failed) = play(seeds, None);
    if let Some(report) = failed {
        panic!("{}", failure(&report));
    }
    println!("{played} seeds: {counts:?}");
    let each = |count: usize| count as u64 >= played;
    assert!(
        [
            counts.answered,
            counts.reads,
            counts.power_failures,
            counts.kills,
            counts.midway
        ]
        .into_iter()
        .all(each),
        "hardly anything happened: {counts:?}"
    );
}
