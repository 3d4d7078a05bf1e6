//! The segment that FORMAT.md shows, as a sample for what comes from outside: any bytes to every
//! decoder, and none makes it panic.

use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};
use weir_log::fuzz;

const FORMAT: &str = include_str!("../../FORMAT.md");
const PAGE: usize = 4096;
const ROUNDS: usize = 20_000;
/// Where the parts of the example lie.
const FIRST_FRAME: usize = 0x1000;
const SECOND_FRAME: usize = 0x1062;
const LAST_FRAME: usize = 0x110ce;
const FOOTER: usize = 0x11107;
const FILE: usize = 0x12000;
const RUNS: usize = 2 * 88;

/// The file, put together from the examples.
fn example() -> Vec<u8> {
    let mut file = vec![0; FILE];
    file[0x10ce..0x110ce].fill(0xab);
    let inside = |part: &'static str| part.strip_prefix("hex segment\n");
    for line in FORMAT.split("```").filter_map(inside).flat_map(str::lines) {
        let (position, rest) = line.split_once(": ").unwrap();
        let at = usize::from_str_radix(position, 16).unwrap();
        let hex = rest.split("  ").next().unwrap().split_whitespace();
        for (place, byte) in file[at..].iter_mut().zip(hex) {
            *place = u8::from_str_radix(byte, 16).unwrap();
        }
    }
    file
}

fn put(bytes: &mut [u8], at: usize, number: u32) {
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&number.to_le_bytes());
    }
}

/// Changes single bits, bytes and numbers, and cuts ends.
fn mutate(random: &mut SmallRng, bytes: &mut Vec<u8>) {
    for _ in 0..random.random_range(1..4) {
        if bytes.is_empty() {
            return;
        }
        let at = random.random_range(0..bytes.len());
        match random.random_range(0..6) {
            0 | 1 => bytes[at] ^= 1 << random.random_range(0..8),
            2 => bytes[at] = random.random(),
            3 => bytes[at..].iter_mut().take(8).for_each(|byte| *byte = 0xff),
            4 => bytes[at..].iter_mut().take(4).for_each(|byte| *byte = 0),
            _ => bytes.truncate(at),
        }
    }
}

fn check(valid: &[u8], decode: fn(&[u8]), sign: impl Fn(&mut [u8])) {
    let mut random = SmallRng::seed_from_u64(79);
    decode(valid);
    for round in 0..ROUNDS {
        let mut bytes = valid.to_vec();
        if round % 8 == 0 {
            bytes.truncate(random.random_range(0..=valid.len()));
            random.fill_bytes(&mut bytes);
        } else {
            mutate(&mut random, &mut bytes);
        }
        if round % 2 == 0 {
            sign(&mut bytes);
        }
        decode(&bytes);
    }
}

#[test]
fn any_header() {
    check(&example()[..PAGE], fuzz::fuzz_segment_header, |bytes| {
        put(bytes, 12, 0);
        let crc = crc32c::crc32c(bytes);
        put(bytes, 12, crc);
    });
}

#[test]
fn any_frame() {
    let file = example();
    for frame in [FIRST_FRAME..SECOND_FRAME, LAST_FRAME..FOOTER] {
        check(&file[frame], fuzz::fuzz_frame, |bytes| {
            if bytes.len() >= 50 {
                let crc = crc32c::crc32c(&bytes[..46]);
                put(bytes, 46, crc);
            }
        });
    }
}

#[test]
fn any_footer() {
    check(&example()[FOOTER..], fuzz::fuzz_segment_footer, |bytes| {
        let Some(crc_at) = bytes.len().checked_sub(32) else {
            return;
        };
        // The sparse indexes' checksums stand in the runs; of the example, at least.
        if let (Some(first), Some(second)) = (
            bytes.get(RUNS..RUNS + 24).map(crc32c::crc32c),
            bytes.get(RUNS + 24..RUNS + 72).map(crc32c::crc32c),
        ) {
            put(bytes, 84, first);
            put(bytes, 88 + 84, second);
        }
        put(bytes, crc_at, 0);
        let crc = crc32c::crc32c(bytes);
        put(bytes, crc_at, crc);
    });
}
