//! How a consumed record is printed: its value, JSON, a table row, or a format of one's own.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};
use weir_wire::id::{Offset, PartitionId, Timestamp};
use weir_wire::name::TopicName;
use weir_wire::placement::OrderingKey;

use crate::time;

/// Which attempt a delivery outside a group is: it is not acknowledged, so never repeated.
const FIRST_ATTEMPT: u32 = 1;
/// Characters of a value in a table when nobody says how wide the terminal is.
const VALUE_CHARACTERS: usize = 80;

/// A record as it is to be printed.
#[derive(Clone, Debug)]
pub struct Row<'a> {
    /// The topic.
    pub topic: &'a TopicName,
    /// The partition.
    pub partition: PartitionId,
    /// The offset.
    pub offset: Offset,
    /// When it was appended.
    pub append_time: Timestamp,
    /// When its producer says it happened.
    pub timestamp: Timestamp,
    /// The producer's key.
    pub key: Option<&'a [u8]>,
    /// The hash of what order is kept by.
    pub ordering_key: OrderingKey,
    /// Names and values, in order.
    pub headers: Vec<(&'a [u8], Option<&'a [u8]>)>,
    /// The value.
    pub value: Option<&'a [u8]>,
}

/// `--output` of `consume`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordFormat {
    /// The value and a newline.
    Value,
    /// One JSON object per line.
    Json,
    /// Columns.
    Table,
    /// A template such as `%t/%p@%o %k %v\n`.
    Template(Vec<Part>),
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Bytes as they are.
    Text(String),
    /// A field of the record.
    Field(Field),
}

/// What a `%` letter stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `%t`
    Topic,
    /// `%p`
    Partition,
    /// `%o`
    Offset,
    /// `%k`
    Key,
    /// `%v`
    Value,
    /// `%g`
    Tag,
    /// `%h`
    Headers,
    /// `%T`
    AppendTime,
    /// `%K`
    OrderingKey,
}

/// Why `--output` of `consume` was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// Neither a word nor a template.
    #[error("{0:?} is not one of value, json, table, or a template such as '%t/%p@%o %k %v\\n'")]
    Word(String),
    /// A letter without a meaning.
    #[error(
        "%{0} stands for nothing; there are %t topic, %p partition, %o offset, %k key, %v value, \
         %g tag, %h headers, %T append time, %K ordering key, %% a percent sign"
    )]
    Letter(char),
    /// A `%` or `\` with nothing behind it.
    #[error("the template ends in {0:?}; double it to print it")]
    Cut(char),
    /// A `\` before a letter without a meaning.
    #[error("\\{0} stands for nothing; there are \\n, \\t, \\r, \\0 and \\\\")]
    Escape(char),
}

impl FromStr for RecordFormat {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        match text {
            "value" => Ok(Self::Value),
            "json" => Ok(Self::Json),
            "table" => Ok(Self::Table),
            _ if text.contains('%') => template(text).map(Self::Template),
            _ => Err(FormatError::Word(text.to_owned())),
        }
    }
}

fn template(text: &str) -> Result<Vec<Part>, FormatError> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if !matches!(character, '%' | '\\') {
            literal.push(character);
            continue;
        }
        let letter = characters.next().ok_or(FormatError::Cut(character))?;
        if character == '\\' {
            literal.push(unescape(letter)?);
        } else if letter == '%' {
            literal.push('%');
        } else {
            let field = Field::of(letter).ok_or(FormatError::Letter(letter))?;
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(Part::Field(field));
        }
    }
    if !literal.is_empty() {
        parts.push(Part::Text(literal));
    }
    Ok(parts)
}

const fn unescape(letter: char) -> Result<char, FormatError> {
    Ok(match letter {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        '0' => '\0',
        '\\' => '\\',
        other => return Err(FormatError::Escape(other)),
    })
}

impl Field {
    const fn of(letter: char) -> Option<Self> {
        Some(match letter {
            't' => Self::Topic,
            'p' => Self::Partition,
            'o' => Self::Offset,
            'k' => Self::Key,
            'v' => Self::Value,
            'g' => Self::Tag,
            'h' => Self::Headers,
            'T' => Self::AppendTime,
            'K' => Self::OrderingKey,
            _ => return None,
        })
    }
}

impl RecordFormat {
    /// Whether the ordering key is printed, so that the broker has to send it.
    pub fn shows_ordering_key(&self) -> bool {
        match self {
            Self::Json => true,
            Self::Template(parts) => parts.contains(&Part::Field(Field::OrderingKey)),
            Self::Value | Self::Table => false,
        }
    }

    /// What stands above the first record.
    pub fn write_head(&self, out: &mut impl Write) -> io::Result<()> {
        if *self == Self::Table {
            let line = table_line("TOPIC/PARTITION@OFFSET", "TIME", "KEY", "TAG");
            writeln!(out, "{line} VALUE")?;
        }
        Ok(())
    }

    /// One record.
    pub fn write(
        &self,
        row: &Row<'_>,
        width: Option<usize>,
        out: &mut impl Write,
    ) -> io::Result<()> {
        match self {
            Self::Value => {
                out.write_all(row.value.unwrap_or_default())?;
                out.write_all(b"\n")
            }
            Self::Json => {
                serde_json::to_writer(&mut *out, &row.json())?;
                out.write_all(b"\n")
            }
            Self::Table => row.write_table(width, out),
            Self::Template(parts) => parts.iter().try_for_each(|part| match part {
                Part::Text(text) => out.write_all(text.as_bytes()),
                Part::Field(field) => row.write_field(*field, out),
            }),
        }
    }
}

impl Row<'_> {
    /// The record as the contract names its fields; bytes that are no UTF-8 as base64.
    pub fn json(&self) -> Value {
        let mut object = Map::new();
        object.insert("topic".to_owned(), json!(self.topic.to_string()));
        object.insert("partition".to_owned(), json!(self.partition.value()));
        object.insert("offset".to_owned(), json!(self.offset.value()));
        object.insert("time".to_owned(), json!(time::format(self.append_time)));
        object.insert("timestamp".to_owned(), json!(time::format(self.timestamp)));
        put_bytes(&mut object, "key", self.key);
        object.insert("ordering_key".to_owned(), json!(self.ordering_key()));
        put_bytes(&mut object, "tag", self.tag());
        object.insert("headers".to_owned(), self.headers_json());
        put_bytes(&mut object, "value", self.value);
        object.insert("attempt".to_owned(), json!(FIRST_ATTEMPT));
        Value::Object(object)
    }

    /// The header `tag`; of several, the last.
    fn tag(&self) -> Option<&[u8]> {
        let tags = self.headers.iter().rev();
        let mut tags = tags.filter(|(name, _)| *name == b"tag");
        tags.next().and_then(|(_, value)| *value)
    }

    /// As 16 hex digits: a JSON number of that size would be rounded by many readers.
    fn ordering_key(&self) -> Option<String> {
        let known = self.ordering_key != OrderingKey::NONE;
        known.then(|| format!("{:016x}", self.ordering_key.value()))
    }

    /// An object; a name that occurs several times has a list of its values.
    fn headers_json(&self) -> Value {
        let mut headers = Map::new();
        for (name, value) in &self.headers {
            let name = String::from_utf8_lossy(name).into_owned();
            let value = value.map_or(Value::Null, |value| match std::str::from_utf8(value) {
                Ok(text) => json!(text),
                Err(_) => json!({ "base64": BASE64_STANDARD.encode(value) }),
            });
            match headers.get_mut(&name) {
                None => {
                    headers.insert(name, value);
                }
                Some(Value::Array(values)) => values.push(value),
                Some(first) => *first = json!([first.take(), value]),
            }
        }
        Value::Object(headers)
    }

    fn write_field(&self, field: Field, out: &mut impl Write) -> io::Result<()> {
        match field {
            Field::Topic => write!(out, "{}", self.topic),
            Field::Partition => write!(out, "{}", self.partition),
            Field::Offset => write!(out, "{}", self.offset),
            Field::Key => out.write_all(self.key.unwrap_or_default()),
            Field::Value => out.write_all(self.value.unwrap_or_default()),
            Field::Tag => out.write_all(self.tag().unwrap_or_default()),
            Field::Headers => {
                serde_json::to_writer(out, &self.headers_json()).map_err(io::Error::from)
            }
            Field::AppendTime => out.write_all(time::format(self.append_time).as_bytes()),
            Field::OrderingKey => out.write_all(self.ordering_key().unwrap_or_default().as_bytes()),
        }
    }

    fn write_table(&self, width: Option<usize>, out: &mut impl Write) -> io::Result<()> {
        let place = format!("{}/{}@{}", self.topic, self.partition, self.offset);
        let key = self.key.map(Shown);
        let tag = self.tag().map(Shown);
        let line = table_line(
            &place,
            &time::format(self.append_time),
            &key.map_or_else(String::new, |key| key.to_string()),
            &tag.map_or_else(String::new, |tag| tag.to_string()),
        );
        let value = Shown(self.value.unwrap_or_default()).to_string();
        let room = width.map_or(VALUE_CHARACTERS, |width| {
            width.saturating_sub(line.chars().count() + 1).max(10)
        });
        writeln!(out, "{line} {}", shorten(&value, room))
    }
}

fn table_line(place: &str, time: &str, key: &str, tag: &str) -> String {
    format!("{place:<28} {time:<24} {key:<12} {tag:<8}")
}

/// The text in at most so many characters.
pub fn shorten(text: &str, characters: usize) -> String {
    if text.chars().count() <= characters {
        return text.to_owned();
    }
    let kept: String = text.chars().take(characters.saturating_sub(1)).collect();
    format!("{kept}…")
}

fn put_bytes(object: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    match bytes.map(|bytes| std::str::from_utf8(bytes).map_err(|_| bytes)) {
        None => object.insert(name.to_owned(), Value::Null),
        Some(Ok(text)) => object.insert(name.to_owned(), json!(text)),
        Some(Err(bytes)) => object.insert(
            format!("{name}_base64"),
            json!(BASE64_STANDARD.encode(bytes)),
        ),
    };
}

/// Bytes in one line of a terminal: control characters, which could move its cursor, and those that
/// turn the direction of writing, as escapes.
#[derive(Debug)]
pub struct Shown<'a>(pub &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in String::from_utf8_lossy(self.0).chars() {
            if character.is_control() || turns(character) {
                write!(f, "{}", character.escape_default())?;
            } else {
                write!(f, "{character}")?;
            }
        }
        Ok(())
    }
}

/// Whether a character changes the direction or the lines of what is shown beside it.
const fn turns(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests;
