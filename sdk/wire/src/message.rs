//! The encoding of messages: Protocol Buffers (proto3), by a macro that keeps our own types.
//!
//! A field is known by its number; unknown fields are skipped, absent ones are zero, empty or
//! `None`, so an old client and a new broker understand each other. `weir.proto` beside this
//! crate states the same messages for other languages. Source of the format: the Protocol
//! Buffers encoding guide.

use bytes::Bytes;

use crate::limits::REPEATED_MAX;
use crate::name::NameError;
use crate::varint::{ReadError, Reader, put_unsigned};

/// Why a message could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The bytes are not a Protocol Buffers message.
    #[error("the message is malformed: {0}")]
    Malformed(#[from] ReadError),
    /// A field has another wire type than its number says.
    #[error("field {0} has the wrong wire type")]
    WireType(&'static str),
    /// A field holds a value outside its range.
    #[error("field {field}: {reason}")]
    Value {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A field holds a name outside the grammar.
    #[error("field {field}: {error}")]
    Name {
        /// The field.
        field: &'static str,
        /// What is wrong with the name.
        error: NameError,
    },
    /// A field that must be there is not.
    #[error("field {0} is missing")]
    Missing(&'static str),
    /// A repeated field has more values than the limits allow.
    #[error("field {0} has more than {REPEATED_MAX} values; ask for less at a time")]
    TooMany(&'static str),
}

/// A field's value as it stands in the bytes.
#[derive(Clone, Copy, Debug)]
pub enum Raw<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 2.
    Delimited(&'a [u8]),
}

/// A type that can be one field.
pub trait Scalar: Sized {
    /// Whether it is a varint (a number, `bool`, an enum): then repeated values may come packed.
    const VARINT: bool = false;
    /// Appends tag and value; numbers that are zero and texts that are empty are left out.
    fn put(&self, number: u32, out: &mut Vec<u8>);
    /// Reads the value.
    fn read(raw: Raw<'_>, field: &'static str) -> Result<Self, MessageError>;
    /// What an absent field means.
    fn absent(field: &'static str) -> Result<Self, MessageError> {
        Err(MessageError::Missing(field))
    }
}

/// How often a field may occur: once (`T`), at most once (`Option<T>`), any number (`Vec<T>`).
pub trait Slot: Sized {
    /// What was gathered so far.
    type Partial: Default;
    /// Appends the field.
    fn put(&self, number: u32, out: &mut Vec<u8>);
    /// Takes one occurrence.
    fn merge(
        partial: &mut Self::Partial,
        raw: Raw<'_>,
        field: &'static str,
    ) -> Result<(), MessageError>;
    /// Ends the gathering.
    fn finish(partial: Self::Partial, field: &'static str) -> Result<Self, MessageError>;
}

impl<T: Scalar> Slot for T {
    type Partial = Option<T>;

    fn put(&self, number: u32, out: &mut Vec<u8>) {
        Scalar::put(self, number, out);
    }

    fn merge(
        partial: &mut Option<T>,
        raw: Raw<'_>,
        field: &'static str,
    ) -> Result<(), MessageError> {
        *partial = Some(T::read(raw, field)?);
        Ok(())
    }

    fn finish(partial: Option<T>, field: &'static str) -> Result<Self, MessageError> {
        partial.map_or_else(|| T::absent(field), Ok)
    }
}

impl<T: Scalar> Slot for Option<T> {
    type Partial = Self;

    fn put(&self, number: u32, out: &mut Vec<u8>) {
        if let Some(value) = self {
            let before = out.len();
            value.put(number, out);
            if out.len() == before {
                // Present but zero or empty: proto3 `optional` writes it all the same.
                put_empty::<T>(number, out);
            }
        }
    }

    fn merge(partial: &mut Self, raw: Raw<'_>, field: &'static str) -> Result<(), MessageError> {
        *partial = Some(T::read(raw, field)?);
        Ok(())
    }

    fn finish(partial: Self, _field: &'static str) -> Result<Self, MessageError> {
        Ok(partial)
    }
}

impl<T: Scalar> Slot for Vec<T> {
    type Partial = Self;

    fn put(&self, number: u32, out: &mut Vec<u8>) {
        for value in self {
            let before = out.len();
            value.put(number, out);
            if out.len() == before {
                put_empty::<T>(number, out);
            }
        }
    }

    fn merge(partial: &mut Self, raw: Raw<'_>, field: &'static str) -> Result<(), MessageError> {
        if T::VARINT
            && let Raw::Delimited(packed) = raw
        {
            let mut reader = Reader::new(packed);
            while !reader.is_empty() {
                push_bounded(partial, Raw::Varint(reader.unsigned()?), field)?;
            }
            return Ok(());
        }
        push_bounded(partial, raw, field)
    }

    fn finish(partial: Self, _field: &'static str) -> Result<Self, MessageError> {
        Ok(partial)
    }
}

fn push_bounded<T: Scalar>(
    values: &mut Vec<T>,
    raw: Raw<'_>,
    field: &'static str,
) -> Result<(), MessageError> {
    if values.len() == REPEATED_MAX {
        return Err(MessageError::TooMany(field));
    }
    values.push(T::read(raw, field)?);
    Ok(())
}

/// Writes a zero or an empty text explicitly: both are one zero byte behind the tag.
fn put_empty<T: Scalar>(number: u32, out: &mut Vec<u8>) {
    put_unsigned(out, u64::from(number) << 3 | if T::VARINT { 0 } else { 2 });
    out.push(0);
}

/// A field as declared: number, name, type.
pub type FieldSpec = (u32, &'static str, &'static str);

/// A message: what a frame's header part holds.
pub trait Message: Sized {
    /// Its name in `weir.proto`.
    const NAME: &'static str;
    /// Its fields, which a test compares with `weir.proto`.
    const FIELDS: &'static [FieldSpec];
    /// Appends the fields.
    fn encode(&self, out: &mut Vec<u8>);
    /// Reads the fields.
    fn decode(bytes: &[u8]) -> Result<Self, MessageError>;

    /// The message as bytes of its own.
    fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }
}

/// Declares a message: each field with its number.
#[macro_export]
macro_rules! message {
    ($(
        $(#[$doc:meta])*
        pub struct $name:ident {
            $($(#[$field_doc:meta])* $number:literal => $field:ident: $type:ty,)*
        }
    )*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl $crate::message::Message for $name {
            const NAME: &'static str = stringify!($name);
            const FIELDS: &'static [$crate::message::FieldSpec] =
                &[$(($number, stringify!($field), stringify!($type)),)*];

            fn encode(&self, out: &mut Vec<u8>) {
                let _ = &out;
                $($crate::message::Slot::put(&self.$field, $number, out);)*
            }

            fn decode(bytes: &[u8]) -> Result<Self, $crate::message::MessageError> {
                $(let mut $field = <$type as $crate::message::Slot>::Partial::default();)*
                let mut fields = $crate::message::Fields::new(bytes);
                while let Some((number, raw)) = fields.next_field()? {
                    let _ = &raw;
                    match number {
                        $($number => <$type as $crate::message::Slot>::merge(
                            &mut $field, raw, stringify!($field),
                        )?,)*
                        _ => {}
                    }
                }
                Ok(Self {
                    $($field: <$type as $crate::message::Slot>::finish(
                        $field, stringify!($field),
                    )?,)*
                })
            }
        }

        impl $crate::message::Scalar for $name {
            fn put(&self, number: u32, out: &mut Vec<u8>) {
                $crate::message::put_message(self, number, out);
            }

            fn read(
                raw: $crate::message::Raw<'_>,
                field: &'static str,
            ) -> Result<Self, $crate::message::MessageError> {
                let bytes = $crate::message::delimited(raw, field)?;
                <Self as $crate::message::Message>::decode(bytes)
            }
        }
    )*};
}

/// Walks the fields of a message, skipping wire types that no field here has.
#[derive(Debug)]
pub struct Fields<'a> {
    reader: Reader<'a>,
}

impl<'a> Fields<'a> {
    /// Starts at the first field.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self {
            reader: Reader::new(bytes),
        }
    }

    /// The next field's number and value.
    pub fn next_field(&mut self) -> Result<Option<(u64, Raw<'a>)>, MessageError> {
        while !self.reader.is_empty() {
            let tag = self.reader.unsigned()?;
            let number = tag >> 3;
            match tag & 7 {
                0 => return Ok(Some((number, Raw::Varint(self.reader.unsigned()?)))),
                1 => drop(self.reader.array::<8>()?),
                2 => {
                    let length = self.reader.unsigned()?;
                    let length = usize::try_from(length).map_err(|_| ReadError::Length)?;
                    return Ok(Some((number, Raw::Delimited(self.reader.take(length)?))));
                }
                5 => drop(self.reader.array::<4>()?),
                _ => return Err(ReadError::Length.into()),
            }
        }
        Ok(None)
    }
}

/// Appends a nested message, also an empty one.
pub fn put_message(message: &impl Message, number: u32, out: &mut Vec<u8>) {
    put_delimited(number, &message.to_vec(), out);
}

/// The bytes of a length-delimited field.
pub fn delimited<'a>(raw: Raw<'a>, field: &'static str) -> Result<&'a [u8], MessageError> {
    match raw {
        Raw::Delimited(bytes) => Ok(bytes),
        Raw::Varint(_) => Err(MessageError::WireType(field)),
    }
}

/// The number of a varint field.
pub fn varint(raw: Raw<'_>, field: &'static str) -> Result<u64, MessageError> {
    match raw {
        Raw::Varint(value) => Ok(value),
        Raw::Delimited(_) => Err(MessageError::WireType(field)),
    }
}

/// Appends a length-delimited field.
pub fn put_delimited(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    put_unsigned(out, u64::from(number) << 3 | 2);
    put_unsigned(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a varint field unless it is zero.
pub fn put_varint(number: u32, value: u64, out: &mut Vec<u8>) {
    if value != 0 {
        put_unsigned(out, u64::from(number) << 3);
        put_unsigned(out, value);
    }
}

/// The text of a length-delimited field.
pub fn text<'a>(raw: Raw<'a>, field: &'static str) -> Result<&'a str, MessageError> {
    let bytes = delimited(raw, field)?;
    std::str::from_utf8(bytes).map_err(|error| MessageError::Value {
        field,
        reason: error.to_string(),
    })
}

impl Scalar for String {
    fn put(&self, number: u32, out: &mut Vec<u8>) {
        if !self.is_empty() {
            put_delimited(number, self.as_bytes(), out);
        }
    }

    fn read(raw: Raw<'_>, field: &'static str) -> Result<Self, MessageError> {
        text(raw, field).map(str::to_owned)
    }

    fn absent(_field: &'static str) -> Result<Self, MessageError> {
        Ok(Self::new())
    }
}

impl Scalar for Bytes {
    fn put(&self, number: u32, out: &mut Vec<u8>) {
        if !self.is_empty() {
            put_delimited(number, self, out);
        }
    }

    fn read(raw: Raw<'_>, field: &'static str) -> Result<Self, MessageError> {
        delimited(raw, field).map(Self::copy_from_slice)
    }

    fn absent(_field: &'static str) -> Result<Self, MessageError> {
        Ok(Self::new())
    }
}
