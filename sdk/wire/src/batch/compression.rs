//! Compression of the records section: the four codecs of Kafka, inflated within a bound.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

/// How a records section is compressed; the numbers are Kafka's attribute bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(i16)]
pub enum Compression {
    /// Not at all.
    #[default]
    None = 0,
    /// RFC 1952.
    Gzip = 1,
    /// Snappy in xerial's framing, as Kafka's Java client writes it; bare snappy is read too.
    Snappy = 2,
    /// The LZ4 frame format.
    Lz4 = 3,
    /// RFC 8878.
    Zstd = 4,
}

/// Why a records section could not be inflated (or deflated).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompressionError {
    /// More bytes than the bound came out.
    #[error("the batch inflates to more than {0} bytes; send smaller batches")]
    TooLarge(usize),
    /// The bytes are not what the codec expects.
    #[error("the batch's {codec} data is damaged: {source}")]
    Damaged {
        /// The codec.
        codec: Compression,
        /// What it says.
        source: io::Error,
    },
}

/// A word that names no codec.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not one of none, gzip, snappy, lz4, zstd")]
pub struct UnknownCompression(String);

/// xerial's stream header: magic, version 1, compatible with version 1.
const XERIAL: [u8; 16] = [
    0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1,
];
const XERIAL_BLOCK: usize = 32 * 1024;
const ZSTD_LEVEL: i32 = 3;
/// 32 MiB, what a batch may inflate to; levels up to 20 stay within it.
const ZSTD_WINDOW_LOG_MAX: u32 = 25;

impl Compression {
    pub(super) const fn from_attributes(bits: i16) -> Option<Self> {
        Some(match bits {
            0 => Self::None,
            1 => Self::Gzip,
            2 => Self::Snappy,
            3 => Self::Lz4,
            4 => Self::Zstd,
            _ => return None,
        })
    }

    /// The section uncompressed, refused beyond `max` bytes.
    pub fn inflate(self, section: &[u8], max: usize) -> Result<Cow<'_, [u8]>, CompressionError> {
        let inflated = match self {
            Self::None if section.len() > max => return Err(CompressionError::TooLarge(max)),
            Self::None => return Ok(Cow::Borrowed(section)),
            // Members may be concatenated, as Java's reader takes them; garbage behind them fails.
            Self::Gzip => read_bounded(flate2::bufread::MultiGzDecoder::new(section), max),
            Self::Snappy => inflate_snappy(section, max),
            Self::Lz4 => inflate_lz4(section, max),
            Self::Zstd => inflate_zstd(section, max),
        };
        match inflated {
            Ok(Some(bytes)) => Ok(Cow::Owned(bytes)),
            Ok(None) => Err(CompressionError::TooLarge(max)),
            Err(source) => Err(CompressionError::Damaged {
                codec: self,
                source,
            }),
        }
    }

    /// Appends the section, compressed, to `out`.
    pub fn deflate(self, section: &[u8], out: &mut Vec<u8>) -> Result<(), CompressionError> {
        let done = match self {
            Self::None => {
                out.extend_from_slice(section);
                Ok(())
            }
            Self::Gzip => {
                let mut encoder =
                    flate2::write::GzEncoder::new(out, flate2::Compression::default());
                encoder
                    .write_all(section)
                    .and_then(|()| encoder.finish().map(|_| ()))
            }
            Self::Snappy => deflate_snappy(section, out),
            Self::Lz4 => {
                let mut encoder = lz4_flex::frame::FrameEncoder::new(out);
                encoder
                    .write_all(section)
                    .and_then(|()| encoder.finish().map(|_| ()).map_err(io::Error::other))
            }
            Self::Zstd => zstd::stream::copy_encode(section, out, ZSTD_LEVEL),
        };
        done.map_err(|source| CompressionError::Damaged {
            codec: self,
            source,
        })
    }

    const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Compression {
    type Err = UnknownCompression;

    fn from_str(word: &str) -> Result<Self, UnknownCompression> {
        [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd]
            .into_iter()
            .find(|codec| codec.word() == word)
            .ok_or_else(|| UnknownCompression(word.to_owned()))
    }
}

/// Everything `source` yields, or `None` if that is more than `max` bytes.
fn read_bounded(source: impl Read, max: usize) -> io::Result<Option<Vec<u8>>> {
    let mut out = Vec::new();
    let bound = (max as u64).saturating_add(1);
    source.take(bound).read_to_end(&mut out)?;
    Ok((out.len() <= max).then_some(out))
}

/// One frame; the decoder itself would ignore whatever follows it.
fn inflate_lz4(mut section: &[u8], max: usize) -> io::Result<Option<Vec<u8>>> {
    let inflated = read_bounded(lz4_flex::frame::FrameDecoder::new(&mut section), max)?;
    if inflated.is_some() && !section.is_empty() {
        let problem = "bytes follow the end of the frame";
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    }
    Ok(inflated)
}

fn inflate_zstd(section: &[u8], max: usize) -> io::Result<Option<Vec<u8>>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(section)?;
    // A frame of a few bytes may ask for a window of 128 MiB.
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
    read_bounded(decoder, max)
}

fn inflate_snappy(section: &[u8], max: usize) -> io::Result<Option<Vec<u8>>> {
    let mut out = Vec::new();
    let Some(mut rest) = section.strip_prefix(&XERIAL) else {
        let fits = inflate_snappy_block(section, max, &mut out)?;
        return Ok(fits.then_some(out));
    };
    while !rest.is_empty() {
        let (length, tail) = rest
            .split_first_chunk::<4>()
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        let length = u32::from_be_bytes(*length) as usize;
        let (block, tail) = tail
            .split_at_checked(length)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        if !inflate_snappy_block(block, max, &mut out)? {
            return Ok(None);
        }
        rest = tail;
    }
    Ok(Some(out))
}

/// Appends one block; `false` if `out` would grow beyond `max`. The length that the block states
/// is checked before anything is allocated for it.
fn inflate_snappy_block(block: &[u8], max: usize, out: &mut Vec<u8>) -> io::Result<bool> {
    let length = snap::raw::decompress_len(block)?;
    let start = out.len();
    if length > max - start.min(max) {
        return Ok(false);
    }
    out.resize(start + length, 0);
    snap::raw::Decoder::new().decompress(block, &mut out[start..])?;
    Ok(true)
}

fn deflate_snappy(section: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    out.extend_from_slice(&XERIAL);
    let mut encoder = snap::raw::Encoder::new();
    for block in section.chunks(XERIAL_BLOCK) {
        let packed = encoder.compress_vec(block)?;
        out.extend_from_slice(&(packed.len() as u32).to_be_bytes());
        out.extend_from_slice(&packed);
    }
    Ok(())
}
