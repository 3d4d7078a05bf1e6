//! What a line of input becomes: a record, nothing, or a bad line with its reason.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use weir_wire::id::Timestamp;

mod printed;

/// How input is cut into records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Every line is a record
    Lines,
    /// Every line is a record and has to be JSON
    Ndjson,
    /// Every line is a record with all that belongs to it, as `weir consume --output json` and
    /// `weir log rescue` write it
    Record,
    /// The whole input is one record
    Raw,
}

/// A line's number, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineNumber(u64);

impl LineNumber {
    /// Wraps a number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number; also how many lines there are up to this one.
    pub const fn value(self) -> u64 {
        self.0
    }

    /// The line after this one.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for LineNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a line is read.
#[derive(Clone, Debug)]
pub struct LineRules {
    /// Lines, NDJSON or everything at once.
    pub format: Format,
    /// The top-level JSON field that holds the key.
    pub key_field: Option<String>,
    /// The top-level JSON field that holds the tag.
    pub tag_field: Option<String>,
    /// What stands between key and value in a line.
    pub key_separator: Option<String>,
}

/// One line of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Which one.
    pub number: LineNumber,
    /// What it is.
    pub item: Item,
}

/// What a line is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A record.
    Record(InputRecord),
    /// An empty line between JSON documents: counted, not stored.
    Blank,
    /// A line that breaks the rules.
    Bad {
        /// As it was read; empty where it was too long to keep.
        line: Bytes,
        /// Which rule.
        reason: String,
    },
}

/// A record, as far as its line tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputRecord {
    /// Its key.
    pub key: Option<Bytes>,
    /// Its tag.
    pub tag: Option<Bytes>,
    /// Its headers.
    pub headers: Vec<(String, Bytes)>,
    /// When its producer said it happened.
    pub timestamp: Option<Timestamp>,
    /// Its value; without one its key is gone.
    pub value: Option<Bytes>,
}

impl LineRules {
    /// What a line (without its newline) becomes.
    pub fn apply(&self, line: Bytes) -> Item {
        match self.format {
            Format::Raw => plain(line),
            Format::Lines => self.split(line),
            Format::Ndjson | Format::Record if line.trim_ascii().is_empty() => Item::Blank,
            Format::Ndjson => match self.pick(&line) {
                Ok((key, tag)) => Item::Record(InputRecord {
                    key: key.map(Bytes::from),
                    tag: tag.map(Bytes::from),
                    value: Some(line),
                    ..InputRecord::default()
                }),
                Err(reason) => Item::Bad { line, reason },
            },
            Format::Record => match printed::read(&line) {
                Ok(record) => Item::Record(record),
                Err(reason) => Item::Bad { line, reason },
            },
        }
    }

    /// Splits off the key; a line without the separator has none.
    fn split(&self, line: Bytes) -> Item {
        let Some(separator) = self.key_separator.as_ref().map(String::as_bytes) else {
            return plain(line);
        };
        let found = line
            .windows(separator.len())
            .position(|window| window == separator);
        match found {
            None => plain(line),
            Some(at) => Item::Record(InputRecord {
                key: Some(line.slice(..at)),
                value: Some(line.slice(at + separator.len()..)),
                ..InputRecord::default()
            }),
        }
    }

    /// Checks a line of JSON and picks key and tag out of it.
    fn pick(&self, line: &[u8]) -> Result<(Option<String>, Option<String>), String> {
        let not_json = |error| format!("not JSON: {}", place(&error, in_words));
        std::str::from_utf8(line).map_err(|error| format!("not JSON: {error}"))?;
        if self.key_field.is_none() && self.tag_field.is_none() {
            serde_json::from_slice::<IgnoredAny>(line).map_err(not_json)?;
            return Ok((None, None));
        }
        let mut picked = Picked::default();
        let mut deserializer = serde_json::Deserializer::from_slice(line);
        let visitor = FieldVisitor {
            rules: self,
            picked: &mut picked,
        };
        serde::Deserializer::deserialize_map(&mut deserializer, visitor)
            .and_then(|()| deserializer.end())
            .map_err(not_json)?;
        let key = self
            .key_field
            .as_deref()
            .map(|field| text(field, picked.key));
        let tag = self
            .tag_field
            .as_deref()
            .map(|field| text(field, picked.tag));
        Ok((key.transpose()?.flatten(), tag.transpose()?.flatten()))
    }
}

/// What the parser says, for people who do not know its words.
fn in_words(what: &str) -> &str {
    match what {
        "expected value" => "a value is expected (text stands in quotes)",
        "expected ident" => "a value is expected (only true, false and null need no quotes)",
        "trailing characters" => "something stands behind the document",
        "key must be a string" => "the name of a field is expected, in quotes",
        _ if what.starts_with("EOF while") => "it ends too early",
        _ if what.starts_with("invalid type") => "an object with fields is expected",
        _ => what,
    }
}

fn plain(value: Bytes) -> Item {
    Item::Record(InputRecord {
        value: Some(value),
        ..InputRecord::default()
    })
}

/// What is wrong and at which column: the parser counts lines too, but it was given only one, and
/// not the input's first.
fn place(error: &serde_json::Error, words: fn(&str) -> &str) -> String {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or(&text);
    format!("{} at column {}", words(what), error.column())
}

/// A field used as key or tag: a string gives its text, a number or bool its JSON, null nothing.
fn text(field: &str, raw: Option<&RawValue>) -> Result<Option<String>, String> {
    let Some(raw) = raw.map(RawValue::get) else {
        return Ok(None);
    };
    match raw.as_bytes().first() {
        Some(b'"') => serde_json::from_str(raw)
            .map(Some)
            .map_err(|error| format!("field {field:?} is no text: {error}")),
        Some(b'{') => Err(format!(
            "field {field:?} is an object; it cannot be a key or tag"
        )),
        Some(b'[') => Err(format!(
            "field {field:?} is a list; it cannot be a key or tag"
        )),
        Some(b'n') | None => Ok(None),
        Some(_) => Ok(Some(raw.to_owned())),
    }
}

/// The fields found, as they stand in the line.
#[derive(Default)]
struct Picked<'a> {
    key: Option<&'a RawValue>,
    tag: Option<&'a RawValue>,
}

/// Walks the top level of an object; of a field named twice, the last counts, as in JavaScript.
struct FieldVisitor<'r, 'p, 'a> {
    rules: &'r LineRules,
    picked: &'p mut Picked<'a>,
}

impl<'a> Visitor<'a> for FieldVisitor<'_, '_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with fields")
    }

    fn visit_map<M: MapAccess<'a>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(name) = map.next_key::<FieldName<'a>>()? {
            let is = |field: &Option<String>| field.as_deref() == Some(&*name.0);
            let (key, tag) = (is(&self.rules.key_field), is(&self.rules.tag_field));
            if !key && !tag {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            let value = map.next_value::<&'a RawValue>()?;
            if key {
                self.picked.key = Some(value);
            }
            if tag {
                self.picked.tag = Some(value);
            }
        }
        Ok(())
    }
}

/// A field's name, borrowed unless it holds escapes.
#[derive(serde::Deserialize)]
struct FieldName<'a>(#[serde(borrow)] Cow<'a, str>);
