//! The fuzz functions over the committed corpus, then over 100,000 inputs per function made
//! from it (P18 of the reliability properties at its CI count).
//!
//! A corpus file is `tests/fuzz/corpus/FUNCTION/NAME.hex` at the top of the repository: hex
//! digits, with lines from `#` on saying what the bytes are.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use weir_wire::frame::Kind;
use weir_wire::fuzz::{MESSAGE_KINDS, TARGETS};

use crate::documents::unhex;

/// For each function.
const INPUTS: usize = 100_000;
const SEED: u64 = 0x7765_6972_2077_6972;
/// Mutations only lengthen an input up to here.
const LENGTH_MAX: usize = 4096;

/// SplitMix64: small, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus");
    let directory = top.join(target);
    let mut files: Vec<_> = std::fs::read_dir(&directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let inputs: Vec<Vec<u8>> = files
        .iter()
        .map(|file| unhex(&std::fs::read_to_string(file).unwrap()))
        .collect();
    assert!(!inputs.is_empty(), "no corpus for {target}");
    inputs
}

/// Flips, overwrites, inserts, removes, repeats, cuts; now and then bytes out of nowhere.
fn mutate(random: &mut Random, inputs: &[Vec<u8>]) -> Vec<u8> {
    if random.below(16) == 0 {
        let length = random.below(200);
        return (0..length).map(|_| random.next() as u8).collect();
    }
    let mut bytes = inputs[random.below(inputs.len())].clone();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(7) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            1 if !bytes.is_empty() => bytes[at] = random.next() as u8,
            2 if !bytes.is_empty() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
            3 if bytes.len() < LENGTH_MAX => bytes.insert(at, random.next() as u8),
            4 if !bytes.is_empty() => drop(bytes.remove(at)),
            5 => bytes.truncate(at),
            6 if bytes.len() < LENGTH_MAX => {
                let other = &inputs[random.below(inputs.len())];
                bytes.extend_from_slice(&other[random.below(other.len())..]);
            }
            _ => {}
        }
    }
    bytes
}

fn run(target: &str, function: fn(&[u8]), input: &[u8]) {
    let borne = catch_unwind(AssertUnwindSafe(|| function(input)));
    assert!(borne.is_ok(), "{target} does not bear {input:02x?}");
}

#[test]
fn every_function_bears_its_corpus() {
    for &(target, function) in TARGETS {
        for input in corpus(target) {
            run(target, function, &input);
        }
    }
}

#[test]
fn every_function_bears_what_mutation_makes() {
    println!("seed {SEED:#x}, {INPUTS} inputs for each function");
    let mut random = Random(SEED);
    for &(target, function) in TARGETS {
        let inputs = corpus(target);
        for _ in 0..INPUTS {
            run(target, function, &mutate(&mut random, &inputs));
        }
    }
}

#[test]
fn every_kind_is_fuzzed() {
    let mut known: Vec<u8> = MESSAGE_KINDS.iter().map(|&kind| kind as u8).collect();
    known.sort_unstable();
    let mut all: Vec<u8> = Kind::ALL.iter().map(|&kind| kind as u8).collect();
    all.sort_unstable();
    assert_eq!(known, all);
}
