//! What the records of a request may become, counted while it is decided: a request that asks for
//! too much is refused before any of it is built.

use weir_wire::batch::{HEADER_LEN, RecordView};
use weir_wire::limits::{OUTCOME_PLACES_MAX, RECORDS_HEADER_MAX, REPEATED_MAX};
use weir_wire::produce::Destination;
use weir_wire::varint::{signed_len, unsigned_len};

use super::{Letter, PLACED_BYTES_MAX, PlaceError};

/// Room for what an outcome says besides: its refusals (70 KB, if all their reasons are as long as
/// they may be), and the second and third bytes of the lengths of runs (at most 16 KB, as only a
/// run of 128 records has a second one).
const OUTCOME_REST: usize = 128 << 10;
/// The most that a destination takes besides its name: the tags and lengths of itself and its
/// fields, two ids and a partition, and an offset that is not known yet.
const DESTINATION_MAX: usize = 36;
/// The most that a record takes before its body, without its timestamp.
const RECORD_HEAD_MAX: usize = 10;
/// An ordering key in its column.
const KEY_LEN: usize = size_of::<u64>();

/// Running totals; each method refuses what goes beyond them.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    /// Bytes of all batches, uncompressed, with their ordering keys.
    placed: usize,
    /// Bytes of the outcome, encoded.
    outcome: usize,
    /// Places of all runs, as a client counts them.
    places: usize,
}

impl Bounds {
    /// A record is stored at so many places.
    pub(super) fn record(
        &mut self,
        record: &RecordView<'_>,
        places: usize,
        keyed: bool,
    ) -> Result<(), PlaceError> {
        // A byte more, because the first record of its batch may have any other timestamp.
        let head = RECORD_HEAD_MAX + signed_len(record.timestamp_delta) + 1;
        let key = if keyed { KEY_LEN } else { 0 };
        self.place(places * (head + record.body().len() + key))
    }

    /// A record goes to a dead-letter topic, perhaps to a partition of its own.
    pub(super) fn letter(&mut self, letter: &Letter<'_>) -> Result<(), PlaceError> {
        const TIMESTAMP_MAX: usize = signed_len(i64::MIN);
        let head = RECORD_HEAD_MAX + TIMESTAMP_MAX;
        self.place(HEADER_LEN + head + letter.body.len() + KEY_LEN)
    }

    /// There is one more destination, behind so many.
    pub(super) fn destination(
        &mut self,
        destination: &Destination,
        before: usize,
    ) -> Result<(), PlaceError> {
        let name = &destination.name;
        let name = name.namespace().len() + 1 + name.topic().len();
        self.place(HEADER_LEN)?;
        repeated(before)?;
        self.tell(DESTINATION_MAX + name)
    }

    /// There is one more set of destinations, behind so many.
    pub(super) fn set(&mut self, set: &[u32], before: usize) -> Result<(), PlaceError> {
        let bytes: usize = set.iter().map(|place| unsigned_len((*place).into())).sum();
        repeated(before)?;
        self.tell(1 + unsigned_len(bytes as u64) + bytes)
    }

    /// There is one more run of records, each at so many places.
    pub(super) fn run(&mut self, places: usize) -> Result<(), PlaceError> {
        self.places += places;
        if self.places > OUTCOME_PLACES_MAX {
            return Err(PlaceError::OutcomeTooLarge);
        }
        self.tell(1 + unsigned_len(2 * REPEATED_MAX as u64))
    }

    fn place(&mut self, bytes: usize) -> Result<(), PlaceError> {
        self.placed += bytes;
        if self.placed > PLACED_BYTES_MAX {
            return Err(PlaceError::TooLarge);
        }
        Ok(())
    }

    fn tell(&mut self, bytes: usize) -> Result<(), PlaceError> {
        self.outcome += bytes;
        if self.outcome > RECORDS_HEADER_MAX - OUTCOME_REST {
            return Err(PlaceError::OutcomeTooLarge);
        }
        Ok(())
    }
}

/// A client reads no more values of one field than that.
const fn repeated(before: usize) -> Result<(), PlaceError> {
    if before >= REPEATED_MAX {
        return Err(PlaceError::OutcomeTooLarge);
    }
    Ok(())
}
