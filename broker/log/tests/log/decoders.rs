//! Any bytes to every decoder: a value or an error, never a panic.

use std::path::Path;
use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};
use weir_log::{SimVfs, Submission, Vfs, fuzz};

use crate::crash_plan::{Plan, Step};
use crate::support::{config, drive};

const PAGE: usize = 4096;
const ROUNDS: usize = 20_000;
const WAL: &str = "/data/wal/0000000000000001.wal";
/// Where fields of a block's header stand (FORMAT.md).
const HEAD_LENGTH: usize = 16;
const HEADER_CRC: usize = 20;
const BODY_CRC: usize = 24;
const PARTITIONS: usize = 64;
const FIXED: usize = 68;

/// A log of one file whose blocks are all small.
fn sample() -> SimVfs {
    let sim = SimVfs::new(1);
    let plan = Plan::new(31, 30);
    let mut driven = drive(Arc::new(sim.clone()), config(Path::new("/data"))).unwrap();
    let mut next = 0;
    for step in &plan.steps {
        if let Step::Commit(count) = step {
            let submissions = (next..next + count).map(|number| Submission {
                entry: plan.entry(number),
                token: 0,
            });
            driven.committer.commit(submissions.collect()).unwrap();
            next += count;
        }
    }
    sim
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

fn header_length(block: &[u8]) -> usize {
    FIXED + 12 * u32_at(block, PARTITIONS)
}

/// The blocks of the sample whose batches are all inline, each with all its pages.
fn blocks(file: &[u8]) -> Vec<Vec<u8>> {
    let mut blocks = Vec::new();
    let mut at = PAGE;
    while file[at..].starts_with(b"WEIRBLCK") {
        let end = at + u32_at(&file[at..], 12) * PAGE;
        let block = &file[at..end];
        let head_end = header_length(block) + u32_at(block, HEAD_LENGTH);
        if head_end.next_multiple_of(PAGE) == block.len() {
            blocks.push(block.to_vec());
        }
        at = end;
    }
    assert!(blocks.len() > 5);
    blocks
}

/// Changes some bytes: single bits, numbers at the edge, cut ends.
fn mutate(random: &mut SmallRng, bytes: &mut Vec<u8>) {
    for _ in 0..random.random_range(1..4) {
        if bytes.is_empty() {
            return;
        }
        let at = random.random_range(0..bytes.len());
        match random.random_range(0..5) {
            0 => bytes[at] ^= 1 << random.random_range(0..8),
            1 => bytes[at] = random.random(),
            2 => bytes[at..].iter_mut().take(4).for_each(|byte| *byte = 0xff),
            3 => bytes[at..].iter_mut().take(4).for_each(|byte| *byte = 0),
            _ => bytes.truncate(at),
        }
    }
}

fn put(bytes: &mut [u8], at: usize, number: u32) {
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&number.to_le_bytes());
    }
}

/// Makes a header's checksum right again.
fn sign_header(block: &mut [u8]) {
    put(block, HEADER_CRC, 0);
    if block.len() >= FIXED {
        let length = header_length(block).min(block.len());
        let crc = crc32c::crc32c(&block[..length]);
        put(block, HEADER_CRC, crc);
    }
}

fn check(valid: &[Vec<u8>], decode: fn(&[u8]), sign: impl Fn(&mut [u8])) {
    let mut random = SmallRng::seed_from_u64(77);
    valid.iter().for_each(|bytes| decode(bytes));
    for round in 0..ROUNDS {
        let mut bytes = if round % 4 == 0 {
            let mut bytes = vec![0; random.random_range(0..300)];
            random.fill_bytes(&mut bytes);
            bytes
        } else {
            let mut bytes = valid[round % valid.len()].clone();
            mutate(&mut random, &mut bytes);
            bytes
        };
        if round % 2 == 0 {
            sign(&mut bytes);
        }
        decode(&bytes);
    }
}

#[test]
fn file_headers() {
    let file = sample().read(Path::new(WAL)).unwrap();
    check(&[file[..PAGE].to_vec()], fuzz::fuzz_file_header, |bytes| {
        put(bytes, 12, 0);
        let crc = crc32c::crc32c(bytes);
        put(bytes, 12, crc);
    });
}

#[test]
fn manifests_and_checkpoints() {
    let sim = SimVfs::new(1);
    let plan = Plan::new(32, 30);
    let mut driven = drive(Arc::new(sim.clone()), config(Path::new("/data"))).unwrap();
    let submissions = (0..20).map(|number| Submission {
        entry: plan.entry(number),
        token: 0,
    });
    driven.committer.commit(submissions.collect()).unwrap();
    driven.committer.flush().unwrap();
    let files = |part: &str| -> Vec<Vec<u8>> {
        let dir = Path::new("/data").join(part);
        let names = sim.list(&dir).unwrap();
        names
            .iter()
            .map(|name| sim.read(&dir.join(name)).unwrap())
            .collect()
    };
    let (manifests, checkpoints) = (files("manifest"), files("checkpoints"));
    assert!(manifests.len() == 2 && !checkpoints.is_empty());
    check(&manifests, fuzz::fuzz_manifest, |bytes| {
        if bytes.len() >= 24 {
            let length = bytes.len() as u64;
            bytes[16..24].copy_from_slice(&length.to_le_bytes());
        }
        put(bytes, 12, 0);
        let crc = crc32c::crc32c(bytes);
        put(bytes, 12, crc);
    });
    check(&checkpoints, fuzz::fuzz_checkpoint, |bytes| {
        put(bytes, 12, 0);
        if bytes.len() >= 52 {
            let end = (52 + u32_at(bytes, 48)).min(bytes.len());
            let crc = crc32c::crc32c(&bytes[..end]);
            put(bytes, 12, crc);
        }
    });
}

#[test]
fn block_headers() {
    let file = sample().read(Path::new(WAL)).unwrap();
    check(&blocks(&file), fuzz::fuzz_block_header, sign_header);
}

#[test]
fn entries_and_envelopes() {
    let file = sample().read(Path::new(WAL)).unwrap();
    let entries: Vec<Vec<u8>> = blocks(&file)
        .iter()
        .map(|block| block[header_length(block)..].to_vec())
        .collect();
    check(&entries, fuzz::fuzz_entry, |_| {});
    // Behind the entry's 28 bytes and the operation's 5.
    let envelopes: Vec<Vec<u8>> = entries.iter().map(|entry| entry[33..].to_vec()).collect();
    check(&envelopes, fuzz::fuzz_envelope, |bytes| {
        if bytes.len() >= 50 {
            let crc = crc32c::crc32c(&bytes[..46]);
            put(bytes, 46, crc);
        }
    });
}

#[test]
fn blocks_with_right_checksums_and_wrong_contents() {
    let sim = sample();
    let file = sim.read(Path::new(WAL)).unwrap();
    let mut random = SmallRng::seed_from_u64(78);
    let mut refused = 0;
    for _ in 0..1_000 {
        let disk = sim.snapshot().crash(weir_log::CrashPolicy::TornWrite, 0);
        let mut bytes = file.clone();
        let block = &mut bytes[PAGE..];
        let start = header_length(block);
        let end = start + u32_at(block, HEAD_LENGTH);
        let mut head = block[start..end].to_vec();
        mutate(&mut random, &mut head);
        block[start..start + head.len()].copy_from_slice(&head);
        put(block, HEAD_LENGTH, u32::try_from(head.len()).unwrap());
        put(block, BODY_CRC, crc32c::crc32c(&head));
        sign_header(block);
        disk.damage(Path::new(WAL), |old| *old = bytes).unwrap();
        refused += usize::from(drive(Arc::new(disk), config(Path::new("/data"))).is_err());
    }
    assert!(
        refused > 900,
        "the blocks behind do not follow it any more: {refused}"
    );
}
