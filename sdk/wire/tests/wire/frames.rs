//! Frames: cut anywhere they come out whole; prefixes that lie are refused before any room is made.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use proptest::{prop_assert, prop_assert_eq, proptest};
use weir_wire::frame::{
    Assembler, Frame, FrameError, FrameMessage, Kind, PREFIX_LEN, Prefix, VERSION,
};
use weir_wire::id::Sequence;
use weir_wire::limits::{BATCH_BYTES_MAX, FRAME_HEADER_MAX, HELLO_FRAME_MAX};
use weir_wire::produce::Produce;

fn produce(sequence: u64) -> Produce {
    Produce {
        sequence: Sequence::new(sequence),
        ack: 0,
        partition: None,
        all_or_nothing: false,
    }
}

fn frames() -> impl Strategy<Value = Vec<(u64, Vec<u8>)>> {
    vec((any::<u64>(), vec(any::<u8>(), 0..300)), 0..9)
}

proptest! {
    #[test]
    fn frames_cut_anywhere_come_out_whole(frames in frames(), cuts in vec(1..40_usize, 1..50)) {
        let mut stream = Vec::new();
        for (sequence, payload) in &frames {
            stream.extend(produce(*sequence).to_frame(payload.len()));
            stream.extend(payload);
        }
        let mut rest = Bytes::from(stream);
        let mut assembler: Assembler<Vec<u8>> = Assembler::default();
        let mut out = Vec::new();
        let mut cuts = cuts.iter().cycle();
        while !rest.is_empty() {
            let cut = *cuts.next().unwrap();
            let mut piece = rest.split_to(cut.min(rest.len()));
            while let Some(frame) = assembler.feed(&mut piece).unwrap() {
                prop_assert_eq!(frame.kind, Kind::Produce);
                let message: Produce = frame.message().unwrap();
                out.push((message.sequence.value(), frame.payload));
            }
            prop_assert!(piece.is_empty());
        }
        prop_assert_eq!(out, frames);
        prop_assert!(!assembler.is_midway());
    }

    #[test]
    fn a_prefix_never_promises_more_than_its_kind_may_have(bytes in any::<[u8; PREFIX_LEN]>()) {
        if let Ok(prefix) = Prefix::parse(&bytes) {
            let stated = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
            prop_assert_eq!(8 + prefix.header_len + prefix.payload_len, stated);
            prop_assert!(prefix.header_len <= 16 << 20 && prefix.payload_len <= 48 << 20);
        }
    }
}

fn prefix(length: u32, kind: u8, version: u8, header: u32) -> [u8; PREFIX_LEN] {
    let mut bytes = [0; PREFIX_LEN];
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    (bytes[4], bytes[5]) = (kind, version);
    bytes[8..].copy_from_slice(&header.to_be_bytes());
    bytes
}

#[test]
fn prefixes_that_lie_are_refused() {
    let produce = Kind::Produce as u8;
    let cases = [
        (prefix(7, produce, VERSION, 0), FrameError::Lengths),
        (prefix(8, produce, VERSION, 1), FrameError::Lengths),
        (prefix(8, produce, VERSION, u32::MAX), FrameError::Lengths),
        (prefix(8, 0, VERSION, 0), FrameError::Kind(0)),
        (prefix(8, 255, VERSION, 0), FrameError::Kind(255)),
        (
            prefix(8, produce, 2, 0),
            FrameError::Version {
                kind: produce,
                version: 2,
            },
        ),
        (
            prefix(u32::MAX, produce, VERSION, 0),
            FrameError::TooLarge {
                kind: produce,
                length: u32::MAX as usize - 8,
                max: BATCH_BYTES_MAX,
            },
        ),
        (
            prefix(8 + (5 << 20), Kind::Bind as u8, VERSION, 5 << 20),
            FrameError::TooLarge {
                kind: Kind::Bind as u8,
                length: 5 << 20,
                max: FRAME_HEADER_MAX,
            },
        ),
        (
            prefix(8 + (17 << 10), Kind::Hello as u8, VERSION, 17 << 10),
            FrameError::TooLarge {
                kind: Kind::Hello as u8,
                length: 17 << 10,
                max: HELLO_FRAME_MAX,
            },
        ),
        (
            prefix(9, Kind::Credit as u8, VERSION, 0),
            FrameError::TooLarge {
                kind: Kind::Credit as u8,
                length: 1,
                max: 0,
            },
        ),
    ];
    for (bytes, error) in cases {
        assert_eq!(Prefix::parse(&bytes), Err(error), "{bytes:?}");
    }
}

#[test]
fn flags_that_are_not_known_are_ignored() {
    let mut bytes = prefix(8, Kind::Done as u8, VERSION, 0);
    (bytes[6], bytes[7]) = (0x80, 1);
    assert_eq!(Prefix::parse(&bytes).unwrap().kind, Kind::Done);
}

#[test]
fn a_kind_out_of_place_is_refused_at_its_prefix() {
    const HELLO_ONLY: &[Kind] = &[Kind::Hello];
    let mut assembler: Assembler<Vec<u8>> = Assembler::expecting(HELLO_ONLY);
    let mut frame = Bytes::from(produce(0).to_frame(8 << 20));
    let refused = assembler.feed(&mut frame).unwrap_err();
    assert_eq!(refused, FrameError::Unexpected(Kind::Produce as u8));
}

#[test]
fn a_frame_cut_off_is_midway() {
    let frame = produce(9).to_frame(3);
    for end in 1..frame.len() {
        let mut assembler: Assembler<Vec<u8>> = Assembler::default();
        let mut piece = Bytes::copy_from_slice(&frame[..end]);
        let out: Option<Frame<Vec<u8>>> = assembler.feed(&mut piece).unwrap();
        assert!(out.is_none() && assembler.is_midway(), "cut at {end}");
    }
}

#[test]
fn numbers_of_kinds_are_their_own() {
    for &kind in Kind::ALL {
        assert_eq!(Kind::from_number(kind as u8), Some(kind));
    }
    let mut numbers: Vec<u8> = Kind::ALL.iter().map(|&kind| kind as u8).collect();
    numbers.dedup();
    assert_eq!(numbers.len(), Kind::ALL.len());
}
