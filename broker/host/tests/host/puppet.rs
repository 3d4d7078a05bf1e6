//! Thousands of answers, sound ones, ones that are wrong in one place, and noise, given by a
//! component that answers whatever bytes a record's value holds. The host never breaks, takes what
//! a model of the contract takes, makes of it what the model makes, and refuses the rest.

#[path = "puppet/image.rs"]
mod image;
#[path = "puppet/model.rs"]
mod model;

use crate::dice::{Dice, rounds, seed};
use crate::support::{bind, block, host, hostile, input, limits, try_bind};
use image::Image;
use model::{Answer, Made, Stored};
use weir_host::{Attempt, Bound, CallError, Input, RecordFailure, Transformed};
use weir_wire::batch::{NewRecord, Records};
use weir_wire::plugin::Hook;

/// Answers per hook that a model knows what to make of, and bytes that it does not.
const SOUND_OR_WRONG: u64 = 1_200;
const NOISE: u64 = 400;
const CONFIGURATIONS: u64 = 400;

/// The records of a batch, the image first. The others' values are answers that are always wrong,
/// so that the batch is taken as a whole or not at all.
fn records(dice: &mut Dice, count: usize, image: &[u8]) -> Vec<Stored> {
    (0..count)
        .map(|n| {
            let text = |dice: &mut Dice| dice.bytes(12);
            let key = dice.chance(60).then(|| text(dice));
            let headers = (0..dice.below(4))
                .map(|_| (dice.pick(&["a", "b", "tag"]).to_owned(), text(dice)))
                .collect();
            let mut other = text(dice);
            other.insert(0, 7);
            let value = match n {
                0 => Some(image.to_vec()),
                _ => dice.chance(80).then_some(other),
            };
            Stored {
                key,
                value,
                headers,
            }
        })
        .collect()
}

fn batch(records: &[Stored]) -> Input {
    let headers: Vec<Vec<(&str, &[u8])>> = records
        .iter()
        .map(|record| {
            let headers = record.headers.iter();
            headers
                .map(|(name, value)| (&name[..], &value[..]))
                .collect()
        })
        .collect();
    input(
        records
            .iter()
            .zip(&headers)
            .map(|(record, headers)| NewRecord {
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers,
            }),
    )
}

/// What a call came to: what it made of the batch, unless it refused it or a record of it.
fn outcome<T>(
    result: Result<T, CallError>,
    failures: impl Fn(&T) -> &[RecordFailure],
) -> Result<T, String> {
    let made = result.map_err(|error| error.to_string())?;
    match failures(&made) {
        [] => Ok(made),
        [first, ..] => Err(first.message.clone()),
    }
}

/// The same as one kind of thing for all hooks.
fn ask(bound: &Bound, input: &Input) -> Result<Made, String> {
    bound.unquarantine();
    match bound.hook() {
        Hook::Filter => {
            let made = outcome(bound.filter_now(input), |made| &made.failures)?;
            Ok(Made::Kept(made.values))
        }
        Hook::Key => {
            let made = outcome(bound.keys_now(input), |made| &made.failures)?;
            Ok(Made::Keys(made.values))
        }
        Hook::Route => {
            let made = outcome(bound.route_now(input), |made| &made.failures)?;
            Ok(Made::Routes(
                made.values.iter().map(|set| set.bits()).collect(),
            ))
        }
        Hook::RetryPolicy => {
            let attempt = Attempt {
                number: 3,
                message: "so be it".to_owned(),
            };
            let attempts = vec![attempt; input.count as usize];
            let made = outcome(bound.decide_now(input, &attempts), |made| &made.failures)?;
            Ok(Made::Decisions(made.values))
        }
        Hook::Transform => {
            let made = outcome(bound.transform_now(input), |made| &made.failures)?;
            Ok(Made::Outputs(outputs(&made), rejected(&made)))
        }
        _ => {
            let made = outcome(bound.project_now(input), |made| &made.failures)?;
            Ok(Made::Outputs(outputs(&made), rejected(&made)))
        }
    }
}

/// The outputs, which must be records to the last byte.
fn outputs(made: &Transformed) -> Vec<(u32, model::Output)> {
    let mut records = Records::new(&made.records, made.count);
    let found: Vec<_> = records
        .by_ref()
        .map(|record| {
            let record = record.unwrap();
            let headers = record
                .headers()
                .map(|(name, value)| (name.to_vec(), value.unwrap().to_vec()));
            model::Output {
                offset: record.offset_delta,
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers: headers.collect(),
            }
        })
        .collect();
    assert!(records.rest().is_empty());
    assert_eq!(found.len(), made.sources.len());
    made.sources.iter().copied().zip(found).collect()
}

fn rejected(made: &Transformed) -> Vec<(u32, String)> {
    let rejected = made.rejected.iter();
    rejected
        .map(|rejection| (rejection.index, rejection.reason.clone()))
        .collect()
}

/// What no answer whatever can bring about.
fn is_possible(made: &Made, count: usize, routes: usize) -> bool {
    match made {
        Made::Kept(values) => values.len() == count,
        Made::Keys(values) => values.len() == count,
        Made::Decisions(values) => values.len() == count,
        Made::Routes(sets) => {
            let declared = u64::MAX.checked_shr(64 - routes as u32).unwrap_or(0);
            sets.len() == count && sets.iter().all(|set| set & !declared == 0)
        }
        Made::Outputs(outputs, rejected) => {
            let sources = || outputs.iter().map(|(source, _)| *source);
            let gone = |index: &u32| !sources().any(|source| source == *index);
            sources().is_sorted()
                && sources().all(|source| (source as usize) < count)
                && rejected.iter().all(|(index, _)| gone(index))
                && rejected.iter().all(|(_, reason)| reason.len() <= 1024)
        }
    }
}

/// How many answers were taken and how many refused.
#[derive(Debug, Default)]
struct Tally {
    taken: u64,
    refused: u64,
}

fn play(bound: &Bound, routes: usize) -> Tally {
    let mut tally = Tally::default();
    for round in 0..rounds(SOUND_OR_WRONG) {
        let hook = bound.hook();
        let seed = seed(&format!("{hook} {routes}"), round);
        let mut dice = Dice::new(seed);
        let count = 1 + dice.below(4);
        let answer = Answer::new(&mut dice, hook, count, routes);
        let records = records(&mut dice, count, &answer.image.bytes);
        let batch = batch(&records);
        let expected = answer.made_of(&records, &batch.records);
        let found = ask(bound, &batch);
        match (&expected, &found) {
            (Some(expected), Ok(found)) => {
                assert_eq!(found, expected, "seed {seed}: {answer:?}");
                tally.taken += 1;
            }
            (None, Err(message)) => {
                assert!(!message.is_empty(), "seed {seed}");
                tally.refused += 1;
            }
            _ => panic!("seed {seed}: {found:?} instead of {expected:?} for {answer:?}"),
        }
    }
    for round in 0..rounds(NOISE) {
        let mut dice = Dice::new(seed("noise", round));
        let count = 1 + dice.below(4);
        let mut image = Answer::new(&mut dice, bound.hook(), count, routes)
            .image
            .bytes;
        dice.disturb(&mut image);
        if let Ok(made) = ask(bound, &batch(&records(&mut dice, count, &image))) {
            assert!(is_possible(&made, count, routes), "noise {round}: {made:?}");
        }
    }
    tally
}

/// Enough of both to mean something.
fn is_balanced(hook: Hook, tally: &Tally) {
    let least = rounds(SOUND_OR_WRONG) / 10;
    assert!(
        tally.taken > least && tally.refused > least,
        "{hook}: {tally:?}"
    );
}

#[test]
fn answers_are_taken_as_the_contract_says_or_refused() {
    let plugin = hostile("puppet");
    for hook in [
        Hook::Filter,
        Hook::Key,
        Hook::RetryPolicy,
        Hook::Transform,
        Hook::Project,
    ] {
        is_balanced(hook, &play(&bind(&plugin, hook, &[], &[]), 0));
    }
}

#[test]
fn routes_are_taken_if_they_are_declared() {
    let plugin = hostile("puppet");
    for declared in [0, 1, 5, 63, 64] {
        let routes = vec!["somewhere"; declared];
        let tally = play(&bind(&plugin, Hook::Route, &[], &routes), declared);
        is_balanced(Hook::Route, &tally);
    }
}

#[test]
fn what_a_plugin_asks_for_is_granted_within_bounds() {
    let plugin = hostile("puppet");
    let mut tally = Tally::default();
    for round in 0..rounds(CONFIGURATIONS) {
        let seed = seed("configure", round);
        let mut dice = Dice::new(seed);
        let (mut image, is_sound) = model::projection(&mut dice);
        let is_noise = dice.chance(25);
        if is_noise {
            dice.disturb(&mut image.bytes);
        }
        let letters = image.letters();
        let settings = [("image", &letters[..])];
        let bound = try_bind(&plugin, Hook::Filter, &settings, &[], limits());
        match bound {
            Ok(_) => tally.taken += 1,
            Err(_) => tally.refused += 1,
        }
        if !is_noise {
            assert_eq!(bound.is_ok(), is_sound, "seed {seed}: {:?}", bound.err());
        }
    }
    println!("configure: {tally:?}");
    let least = rounds(CONFIGURATIONS) / 10;
    assert!(tally.taken > least && tally.refused > least, "{tally:?}");
    // The host has forgotten all of them.
    let quick = bind(&plugin, Hook::Filter, &[], &[]);
    let sound = Image::verdicts(&[1]);
    let kept = block(quick.filter(crate::support::values(&[sound.bytes]))).unwrap();
    assert_eq!((kept.values, kept.failures), (vec![true], vec![]));
    assert!(host().memory_used() < 1 << 30);
}
