//! Bytes made to hurt: bombs, lies about lengths, flags that are not a producer's to set.

use std::io::Write;

use expect_test::{Expect, expect};
use weir_wire::batch::{BatchBuilder, Compression, CompressionError, NewRecord, Records, verify};
use weir_wire::id::Timestamp;
use weir_wire::limits::{BATCH_BYTES_MAX, BATCH_INFLATED_MAX, REPEATED_MAX};
use weir_wire::message::{Message, MessageError};
use weir_wire::subscribe::Subscribe;

const CODECS: [Compression; 4] = [
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

/// A batch of three records whose header `change` may spoil; its CRC is made right again.
fn spoiled(change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut builder = BatchBuilder::default();
    for value in [b"one".as_slice(), b"two", b"three"] {
        let record = NewRecord {
            value: Some(value),
            ..NewRecord::default()
        };
        builder.push(Timestamp::new(1000), &record);
    }
    let mut batch = builder.finish(Compression::None).unwrap();
    change(&mut batch);
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

fn check(change: impl Fn(&mut Vec<u8>), expected: Expect) {
    expected.assert_eq(&verify(&spoiled(change)).unwrap_err().to_string());
}

fn put(batch: &mut [u8], at: usize, bytes: &[u8]) {
    batch[at..at + bytes.len()].copy_from_slice(bytes);
}

#[test]
fn headers_that_lie() {
    assert!(verify(&spoiled(|_| ())).is_ok());
    check(
        |batch| batch[16] = 1,
        expect!["record format 1 is not supported; use magic 2 (Kafka 0.11 and later)"],
    );
    check(
        |batch| put(batch, 8, &(-1_i32).to_be_bytes()),
        expect!["the batch length -1 is impossible"],
    );
    check(
        |batch| put(batch, 8, &i32::MAX.to_be_bytes()),
        expect!["the batch says it has 2147483659 bytes, but 93 came"],
    );
    check(
        |batch| put(batch, 57, &0_i32.to_be_bytes()),
        expect!["a batch holds 1 to 1048576 records, not 0"],
    );
    check(
        |batch| put(batch, 57, &(-3_i32).to_be_bytes()),
        expect!["a count or offset delta is negative"],
    );
    check(
        |batch| put(batch, 57, &i32::MAX.to_be_bytes()),
        expect!["a batch holds 1 to 1048576 records, not 2147483647"],
    );
    check(
        |batch| put(batch, 57, &2_i32.to_be_bytes()),
        expect!["the batch says it holds 2 records up to delta 2, its records disagree"],
    );
    check(
        |batch| {
            put(batch, 57, &4_i32.to_be_bytes());
            put(batch, 23, &3_i32.to_be_bytes());
        },
        expect!["record 3 of the batch is malformed: bytes end too early"],
    );
    check(
        |batch| put(batch, 23, &9_i32.to_be_bytes()),
        expect!["the batch says it holds 3 records up to delta 9, its records disagree"],
    );
    for (bits, shown) in [
        (8_i16, "0x0008"),
        (16, "0x0010"),
        (32, "0x0020"),
        (64, "0x0040"),
        (128, "0x0080"),
        (-32768, "0x8000"),
    ] {
        let error = verify(&spoiled(|batch| put(batch, 21, &bits.to_be_bytes()))).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("the attributes {shown} hold flags that a producer may not set")
        );
    }
    check(
        |batch| batch[22] = 7,
        expect!["compression type 7 does not exist"],
    );
}

#[test]
fn records_that_lie() {
    // Byte 61 is the first record's length, 64 its offset delta, 65 its null key's length.
    check(
        |batch| batch[61] = 0x7e,
        expect!["record 0 of the batch is malformed: bytes end too early"],
    );
    check(
        |batch| batch[61] = 0x01,
        expect!["record 0 of the batch is malformed: a length is out of range"],
    );
    check(
        |batch| batch[64] = 2,
        expect!["the batch says it holds 3 records up to delta 2, its records disagree"],
    );
    check(
        |batch| batch[65] = 3,
        expect!["record 0 of the batch is malformed: a length is out of range"],
    );
}

#[test]
fn a_checksum_that_does_not_match() {
    let mut batch = spoiled(|_| ());
    batch[70] ^= 1;
    let error = verify(&batch).unwrap_err().to_string();
    assert!(error.starts_with("the batch's CRC32C is 0x"), "{error}");
}

#[test]
fn a_batch_larger_than_the_limit() {
    let error = verify(&vec![0; BATCH_BYTES_MAX + 1])
        .unwrap_err()
        .to_string();
    assert_eq!(error, "the batch has 8388609 bytes; the limit is 8388608");
}

/// 1000 to 1 and more: the bound stops each codec, whatever the frame says about itself.
#[test]
fn bombs_stop_at_the_bound() {
    let zeros = vec![0; BATCH_INFLATED_MAX + 1];
    for codec in CODECS {
        let mut bomb = Vec::new();
        codec.deflate(&zeros, &mut bomb).unwrap();
        let error = codec.inflate(&bomb, BATCH_INFLATED_MAX).unwrap_err();
        assert!(
            matches!(error, CompressionError::TooLarge(BATCH_INFLATED_MAX)),
            "{codec}"
        );
        let fits = codec.inflate(&bomb, zeros.len()).unwrap();
        assert!(fits.len() == zeros.len(), "{codec}");
    }
}

#[test]
fn a_bare_snappy_block_states_its_length_and_is_not_believed() {
    // A length of 4 GiB − 1, then nothing.
    let lie = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let error = Compression::Snappy.inflate(&lie, 1000).unwrap_err();
    assert!(matches!(error, CompressionError::TooLarge(1000)));
    let bare = snap::raw::Encoder::new()
        .compress_vec(b"bare, as some clients write it")
        .unwrap();
    let read = Compression::Snappy.inflate(&bare, 1000).unwrap();
    assert_eq!(&read[..], b"bare, as some clients write it");
}

#[test]
fn a_zstd_window_beyond_the_bound_is_refused() {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder
        .write_all(b"a few bytes that ask for 128 MiB")
        .unwrap();
    let greedy = encoder.finish().unwrap();
    let error = Compression::Zstd
        .inflate(&greedy, BATCH_INFLATED_MAX)
        .unwrap_err();
    assert!(matches!(error, CompressionError::Damaged { .. }), "{error}");
}

#[test]
fn bytes_behind_a_compressed_section_are_damage() {
    for codec in CODECS {
        let mut packed = Vec::new();
        codec.deflate(b"the records", &mut packed).unwrap();
        packed.extend_from_slice(b"and what does not belong here");
        let error = codec.inflate(&packed, 1 << 20).unwrap_err();
        assert!(matches!(error, CompressionError::Damaged { .. }), "{codec}");
    }
}

#[test]
fn a_section_cut_short_never_reads_as_whole() {
    let plain: Vec<u8> = (0..5000_u32).flat_map(|n| n.to_le_bytes()).collect();
    for codec in CODECS {
        let mut packed = Vec::new();
        codec.deflate(&plain, &mut packed).unwrap();
        for end in (0..packed.len()).step_by(97) {
            let read = codec.inflate(&packed[..end], 1 << 20);
            assert!(
                !read.is_ok_and(|bytes| bytes == plain),
                "{codec} cut at {end}"
            );
        }
    }
}

#[test]
fn a_count_of_headers_that_lies_ends_the_walk() {
    // A record of 11 bytes: null key, null value, and 2^31 − 1 headers that are not there.
    let section = [22, 0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0];
    let record = Records::new(&section, 1).next().unwrap().unwrap();
    assert!(record.headers().count() <= 1);
}

#[test]
fn repeated_fields_are_bounded() {
    let cursors = [0x32, 0].repeat(REPEATED_MAX);
    assert_eq!(
        Subscribe::decode(&cursors).unwrap().cursors.len(),
        REPEATED_MAX
    );
    let one_more = [0x32, 0].repeat(REPEATED_MAX + 1);
    assert_eq!(
        Subscribe::decode(&one_more),
        Err(MessageError::TooMany("cursors"))
    );
}
