//! The bytes on disk, as FORMAT.md describes them. Nothing here does I/O; every decoder takes
//! any bytes and answers with a value or an error.

pub(crate) mod block;
pub(crate) mod checkpoint;
pub(crate) mod entry;
pub(crate) mod fields;
pub(crate) mod file_header;
pub(crate) mod manifest;
pub(crate) mod name;
pub(crate) mod segment;

/// The version of everything here. A reader refuses a newer one by name.
pub const FORMAT_VERSION: u16 = 1;
