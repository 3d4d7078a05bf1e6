//! The same seed is the same run, line by line.

use weir_sim::{Options, run};

use crate::seeds::number;

#[test]
fn the_same_seed_is_the_same_run() {
    let options = Options::default();
    let seeds = 5 * number("WEIR_DEEP").unwrap_or(1);
    for seed in 1_000..1_000 + seeds {
        let (one, other) = (run(seed, &options), run(seed, &options));
        for (number, lines) in one
            .trace
            .lines()
            .iter()
            .zip(other.trace.lines())
            .enumerate()
        {
            assert_eq!(lines.0, lines.1, "seed {seed}, line {number}");
        }
        assert_eq!(one.trace, other.trace, "seed {seed}");
        assert_eq!(one.counts, other.counts, "seed {seed}");
    }
    let (one, other) = (run(1, &options), run(2, &options));
    assert_ne!(
        one.trace.hash(),
        other.trace.hash(),
        "another seed is another run"
    );
}
