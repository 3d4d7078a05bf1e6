//! FORMAT.md's examples are what is written.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use weir_log::{Append, Columns, Op, SimVfs, Submission, Vfs};
use weir_wire::id::{Offset, Timestamp};

use crate::support::{config, drive, entry, partition, sequence};

const FORMAT: &str = include_str!("../../FORMAT.md");
const PAGE: usize = 4096;

/// Writes the log of the examples.
fn example() -> SimVfs {
    let sim = SimVfs::new(1);
    let mut config = config(Path::new("/data"));
    config.wal_file_bytes = 64 << 10;
    let mut driven = drive(Arc::new(sim.clone()), config).unwrap();
    let small = append(
        0,
        40,
        2,
        Bytes::from_static(b"a batch"),
        Columns {
            ordering_keys: Some([5_u64, 0].into_iter().flat_map(u64::to_le_bytes).collect()),
            origin: Some(Bytes::from_static(b"k@1")),
        },
    );
    let first = vec![
        small,
        sequence(9, 3, Bytes::from_static(b"ok")),
        Op::Metadata(Bytes::from_static(b"catalog")),
    ];
    let large = append(1, 0, 1, vec![0xab; 16 << 10].into(), Columns::default());
    for ops in [first, vec![large]] {
        let entry = entry(ops);
        driven
            .committer
            .commit(vec![Submission { entry, token: 0 }])
            .unwrap();
    }
    driven.committer.seal().unwrap();
    let trim = entry(vec![Op::Trim {
        partition: partition(7, 0),
        start: Offset::new(41),
    }]);
    let trim = Submission {
        entry: trim,
        token: 0,
    };
    driven.committer.commit(vec![trim]).unwrap();
    driven.committer.flush().unwrap();
    sim
}

fn append(number: u32, offset: u64, count: u32, bytes: Bytes, columns: Columns) -> Op {
    Op::Append(Append {
        partition: partition(7, number),
        base_offset: Offset::new(offset),
        count,
        append_time: Timestamp::new(1_700_000_000_000 + i64::from(number)),
        crc: crc32c::crc32c(&bytes),
        batch: bytes.into(),
        columns,
    })
}

/// The contents of the fenced parts that open with `fence`.
fn fenced(fence: &str) -> Vec<&'static str> {
    let mut parts = FORMAT.split("```");
    let mut found = Vec::new();
    while let (Some(_), Some(inside)) = (parts.next(), parts.next()) {
        found.extend(inside.strip_prefix(fence).map(str::trim));
    }
    found
}

/// A line's position and bytes; two spaces stand before the words that explain it.
fn parse(line: &str) -> (usize, Vec<u8>) {
    let (position, rest) = line.split_once(": ").unwrap();
    let hex = rest.split("  ").next().unwrap();
    let bytes = hex
        .split_whitespace()
        .map(|byte| u8::from_str_radix(byte, 16).unwrap());
    (
        usize::from_str_radix(position, 16).unwrap(),
        bytes.collect(),
    )
}

#[test]
fn every_example_is_what_is_written() {
    let sim = example();
    let file = sim
        .read(Path::new("/data/wal/0000000000000001.wal"))
        .unwrap();
    let mut explained = vec![false; file.len()];
    let examples = fenced("hex\n");
    assert_eq!(examples.len(), 6);
    for line in examples.iter().flat_map(|example| example.lines()) {
        let (position, bytes) = parse(line);
        assert_eq!(file[position..position + bytes.len()], bytes, "{line}");
        explained[position..position + bytes.len()].fill(true);
    }
    // The extent is described in words; everything else that is not zero is in an example.
    let extent = 3 * PAGE..7 * PAGE;
    assert!(file[extent.clone()].iter().all(|byte| *byte == 0xab));
    explained[extent].fill(true);
    let mut rest = file
        .iter()
        .zip(explained)
        .filter(|(_, explained)| !explained);
    assert!(rest.all(|(byte, _)| *byte == 0), "a byte is not explained");
}

/// A file that one example explains from its first byte to its last.
fn is_explained(fence: &str, path: &str) {
    let file = example().read(Path::new(path)).unwrap();
    let [example] = fenced(fence)[..] else {
        panic!("there is one example of {path}");
    };
    let mut explained = Vec::new();
    for (position, bytes) in example.lines().map(parse) {
        assert_eq!(position, explained.len(), "{path} is explained in order");
        explained.extend(bytes);
    }
    assert_eq!(explained, file);
}

#[test]
fn a_manifest_and_a_checkpoint_are_as_described() {
    is_explained("hex manifest\n", "/data/manifest/0000000000000002.manifest");
    is_explained(
        "hex checkpoint\n",
        "/data/checkpoints/metadata-0000000000000003.ckpt",
    );
}

#[test]
fn the_node_file_is_as_described() {
    let written = example().read(Path::new("/data/NODE")).unwrap();
    assert_eq!(
        fenced("text NODE\n"),
        [String::from_utf8(written).unwrap().trim_end()]
    );
}
