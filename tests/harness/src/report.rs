//! What tests tell the person who runs them.

/// Says it on standard error.
#[expect(clippy::print_stderr, reason = "a test talks to whoever runs it")]
pub fn say(text: &str) {
    eprintln!("{text}");
}

/// The seed of this run: `WEIR_SEED`, else a new one; printed, so that the run can be repeated.
#[must_use]
pub fn seed(of: &str) -> u64 {
    let given = std::env::var("WEIR_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    say(&format!(
        "{of}: seed {seed} (the same again: WEIR_SEED={seed})"
    ));
    seed
}

/// How many rounds: more with `WEIR_DEEP`, which multiplies.
#[must_use]
pub fn deep(rounds: usize) -> usize {
    let factor = std::env::var("WEIR_DEEP")
        .ok()
        .and_then(|text| text.parse::<usize>().ok());
    rounds * factor.unwrap_or(1).max(1)
}
