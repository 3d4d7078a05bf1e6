//! Thousands of damaged components, read and compiled as the child does it, but in this process,
//! where a crash, a hang or a panic would be the test's. `tests/host/mutated.rs` sends some more
//! through the child itself.

#[expect(dead_code, reason = "other tests throw these dice in more ways")]
#[path = "../../../tests/host/dice.rs"]
mod dice;
#[path = "../../../tests/host/mutations.rs"]
mod mutations;

use super::translate;
use dice::{Dice, rounds, seed};
use mutations::damaged;
use std::path::Path;
use std::time::{Duration, Instant};

/// Damaged components; most are so small that those which are still sound compile at once.
const ROUNDS: u64 = 10_000;
/// Far more than the largest of them takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// One of every hook.
const SMALL: [&str; 8] = [
    "hostile/keys-trap-on-poison",
    "hostile/routes-trap-on-poison",
    "hostile/maps-trap-on-poison",
    "hostile/decides-for-ever",
    "hostile/traps-on-poison",
    "hostile/wasi-calls",
    "hostile/later-version",
    "hostile/says-why",
];
/// What the kit builds, every fiftieth time.
const LARGE: [&str; 4] = ["tag-filter", "record-key", "upper-case", "backoff"];

fn prebuilt(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/prebuilt");
    std::fs::read(folder.join(format!("{name}.wasm"))).unwrap()
}

#[test]
fn damaged_components_are_refused_with_a_sentence_or_compiled() {
    let (small, large) = (SMALL.map(prebuilt), LARGE.map(prebuilt));
    let (mut compiled, mut slowest) = (0, Duration::ZERO);
    let rounds = rounds(ROUNDS);
    for round in 0..rounds {
        let seed = seed("translate", round);
        let mut dice = Dice::new(seed);
        let other = &small[dice.below(SMALL.len())];
        let one = match round % 50 {
            0 => &large[dice.below(LARGE.len())],
            _ => &small[dice.below(SMALL.len())],
        };
        let component = damaged(&mut dice, one, other);
        let start = Instant::now();
        match translate(&component) {
            Ok(artifact) => {
                assert!(!artifact.is_empty());
                compiled += 1;
            }
            Err(refusal) => assert!(!refusal.message.is_empty(), "seed {seed}"),
        }
        let took = start.elapsed();
        assert!(took < PATIENCE, "seed {seed}: {took:?}");
        slowest = slowest.max(took);
    }
    println!("{compiled} of {rounds} are components still; the slowest took {slowest:?}");
    assert!(compiled > rounds / 50 && compiled < rounds, "{compiled}");
}
