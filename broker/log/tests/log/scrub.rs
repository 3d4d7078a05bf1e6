//! The scrub reads all segments, finds what is damaged, and says so every round.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_log::{ReadError, Scrub, Scrubbed, SimVfs, Submission};
use weir_wire::id::Offset;

use crate::support::{Driven, append, config, drive, entry, partition, payload};

fn filled() -> (SimVfs, Driven) {
    let sim = SimVfs::new(1);
    let mut config = config(Path::new("/data"));
    config.wal_file_bytes = 256 << 10;
    config.cache_bytes = 0;
    config.segment_own_bytes = 32 << 10;
    let mut driven = drive(Arc::new(sim.clone()), config).unwrap();
    for base in 0..60 {
        let at = partition(1, if base % 10 == 0 { 1 } else { 0 });
        let offset = driven
            .committer
            .reader()
            .bounds(at)
            .map_or(0, |it| it.high_water_mark.value());
        let submission = Submission {
            entry: entry(vec![append(at, offset, 1, payload(base, 1_000))]),
            token: 0,
        };
        driven.committer.commit(vec![submission]).unwrap();
    }
    driven.committer.flush().unwrap();
    (sim, driven)
}

/// A whole round, in steps of so many bytes.
fn round(scrub: &mut Scrub, bytes: u64) -> Scrubbed {
    let mut all = Scrubbed::default();
    while !all.round_ended {
        let step = scrub.step(bytes);
        assert!(step.bytes > 0 || step.round_ended || !step.damages.is_empty());
        all.bytes += step.bytes;
        all.damages.extend(step.damages);
        all.round_ended = step.round_ended;
    }
    all
}

fn segment(number: u64) -> PathBuf {
    PathBuf::from(format!("/data/segments/{number:016}.seg"))
}

#[test]
fn a_round_reads_every_byte_of_every_segment_once() {
    let (sim, driven) = filled();
    let mut scrub = Scrub::new(driven.committer.reader());
    let bytes: u64 = [1, 2].map(|id| sim_len(&sim, id)).iter().sum();
    for step in [1, 5_000, 1 << 20] {
        let all = round(&mut scrub, step);
        assert_eq!((all.bytes, all.damages), (bytes, vec![]), "steps of {step}");
    }
}

fn sim_len(sim: &SimVfs, id: u64) -> u64 {
    weir_log::Vfs::read(sim, &segment(id)).unwrap().len() as u64
}

#[test]
fn a_flipped_bit_is_found_refused_and_the_rest_is_served() {
    let (sim, driven) = filled();
    let reader = driven.committer.reader();
    let mut scrub = Scrub::new(reader.clone());
    // In the 20th batch of the partition with a segment of its own.
    let found = reader.read(partition(1, 0), Offset::new(19), 1, 1).unwrap();
    sim.damage(&segment(1), |bytes| {
        let needle = &found.batches[0].bytes[..64];
        let at = bytes
            .windows(64)
            .position(|window| window == needle)
            .unwrap();
        bytes[at + 500] ^= 4;
    })
    .unwrap();
    for _ in 0..2 {
        let damages = round(&mut scrub, 3_000).damages;
        let [damage] = &damages[..] else {
            panic!("{damages:?}");
        };
        assert_eq!(
            (&damage.path, &damage.partitions[..]),
            (&segment(1), &[partition(1, 0)][..])
        );
        assert!(damage.what.contains("offsets 19 to 20"), "{damage}");
    }
    let refused = reader
        .read(partition(1, 0), Offset::new(19), 1, 1)
        .unwrap_err();
    assert!(matches!(refused, ReadError::Corrupt { .. }), "{refused}");
    for offset in (0..54).filter(|offset| *offset != 19) {
        let read = reader
            .read(partition(1, 0), Offset::new(offset), 1, 1)
            .unwrap();
        assert_eq!(read.batches[0].base_offset.value(), offset);
    }
}

#[test]
fn a_damaged_footer_and_a_lost_segment_are_found() {
    let (sim, driven) = filled();
    let mut scrub = Scrub::new(driven.committer.reader());
    sim.damage(&segment(1), |bytes| {
        let length = bytes.len();
        bytes[length - 60] ^= 1;
    })
    .unwrap();
    weir_log::Vfs::remove(&sim, &segment(2)).unwrap();
    let damages = round(&mut scrub, 1 << 20).damages;
    let paths: Vec<_> = damages.iter().map(|damage| damage.path.clone()).collect();
    assert_eq!(paths, [segment(1), segment(2)], "{damages:?}");
}

#[test]
fn segments_that_are_replaced_meanwhile_are_no_damage() {
    let (_, mut driven) = filled();
    let reader = driven.committer.reader();
    let mut scrub = Scrub::new(reader.clone());
    let step = scrub.step(20_000);
    assert!(!step.round_ended);
    let submission = Submission {
        entry: entry(vec![weir_log::Op::Trim {
            partition: partition(1, 0),
            start: Offset::new(50),
        }]),
        token: 0,
    };
    driven.committer.commit(vec![submission]).unwrap();
    while driven.committer.archive().unwrap() {}
    assert_eq!(round(&mut scrub, 20_000).damages, []);
}
