//! What comes from outside, as plain functions over any bytes: a decoder answers with a value or
//! an error, and what it accepts it would write the same way.

use crate::format::block::BlockHeader;
use crate::format::checkpoint::CheckpointHeader;
use crate::format::entry::{Envelope, decode_entry};
use crate::format::fields::Fields;
use crate::format::file_header::FileHeader;
use crate::format::manifest::Manifest;
use crate::format::segment::{
    SegmentHeader, TRAILER_BYTES, Trailer, decode_footer, decode_frame_head, frame_length,
};

/// The first page of a WAL file.
pub fn fuzz_file_header(data: &[u8]) {
    if let Ok(header) = FileHeader::decode(data) {
        let again = FileHeader::decode(&header.encode());
        assert_eq!(
            again.as_ref(),
            Ok(&header),
            "a header survives a round trip"
        );
    }
}

/// A manifest.
pub fn fuzz_manifest(data: &[u8]) {
    if let Ok(manifest) = Manifest::decode(data) {
        let again = Manifest::decode(&manifest.encode());
        assert_eq!(again, Ok(manifest), "a manifest survives a round trip");
    }
}

/// A checkpoint.
pub fn fuzz_checkpoint(data: &[u8]) {
    if let Ok((header, section)) = CheckpointHeader::decode(data) {
        let mut again = header.encode();
        again.extend_from_slice(section);
        let decoded = CheckpointHeader::decode(&again);
        assert_eq!(decoded, Ok((header, section)), "it survives a round trip");
    }
}

/// The header of a block.
pub fn fuzz_block_header(data: &[u8]) {
    if let Ok((header, crc)) = BlockHeader::decode(data) {
        assert!(
            header.bytes() >= header.head_region(),
            "a head fits its block"
        );
        let (bytes, again) = header.encode();
        assert_eq!(crc, again, "the checksum is that of the header");
        assert_eq!(
            data.get(..bytes.len()),
            Some(&*bytes),
            "it is written as it is read"
        );
    }
}

/// An entry within a block's head.
pub fn fuzz_entry(data: &[u8]) {
    let mut fields = Fields::new(data);
    if decode_entry(&mut fields).is_ok() {
        assert!(
            fields.at() + fields.left() == data.len(),
            "no byte is read twice"
        );
    }
}

/// The envelope of a batch.
pub fn fuzz_envelope(data: &[u8]) {
    let mut fields = Fields::new(data);
    if let Ok(envelope) = Envelope::decode(&mut fields) {
        assert!(
            fields.at() >= envelope.columns_length as usize,
            "columns lie within"
        );
    }
}

/// The header of a segment.
pub fn fuzz_segment_header(data: &[u8]) {
    if let Ok(header) = SegmentHeader::decode(data) {
        let again = SegmentHeader::decode(&header.encode());
        assert_eq!(
            again.as_ref(),
            Ok(&header),
            "a header survives a round trip"
        );
    }
}

/// What ends a segment, from its footer on.
pub fn fuzz_segment_footer(data: &[u8]) {
    let Some(at) = data.len().checked_sub(TRAILER_BYTES) else {
        return;
    };
    let trailer = data.get(at..).unwrap_or_default();
    // As long as the trailer says, so that more than its first check is met.
    let stated = trailer.get(32..40).and_then(|bytes| bytes.try_into().ok());
    let Some(Ok(trailer)) = stated
        .map(u64::from_le_bytes)
        .map(|bytes| Trailer::decode(trailer, bytes))
    else {
        return;
    };
    if let Ok(runs) = decode_footer(data, &trailer) {
        assert!(
            runs.iter()
                .all(|run| run.frames_end() <= trailer.footer_position),
            "runs lie before the footer"
        );
    }
}

/// A frame of a segment.
pub fn fuzz_frame(data: &[u8]) {
    let mut fields = Fields::new(data);
    if let (Ok(length), Ok(envelope)) = (frame_length(data), decode_frame_head(&mut fields)) {
        assert_eq!(
            length,
            fields.at() + envelope.batch_length as usize,
            "a frame is as long as its first bytes say"
        );
    }
}
