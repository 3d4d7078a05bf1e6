//! Records as `weir consume --output json` and `weir log rescue` print them (see `record.rs`), read
//! back: bytes that are no text are base64 under another name, and nothing of the record is lost.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::{InputRecord, place};
use crate::time;

/// The header that is the tag.
const TAG: &str = "tag";

/// The fields that make a record anew; those that say where it was are passed over.
#[derive(Debug, Deserialize)]
struct Printed {
    timestamp: Option<String>,
    key: Option<String>,
    key_base64: Option<String>,
    tag: Option<String>,
    tag_base64: Option<String>,
    #[serde(default)]
    headers: Map<String, Value>,
    /// Whether it is there counts, too: null is a record without a value.
    #[serde(default, deserialize_with = "present")]
    value: Option<Option<String>>,
    value_base64: Option<String>,
}

fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(from).map(Some)
}

/// Reads a line, or says what is wrong with it.
pub(super) fn read(line: &[u8]) -> Result<InputRecord, String> {
    // What reads the fields by name would take them from a list in their order, too.
    if !line.trim_ascii_start().starts_with(b"{") {
        return Err("no record as weir prints it: it is no JSON object".to_owned());
    }
    let printed: Printed = serde_json::from_slice(line).map_err(|error| {
        format!(
            "no record as weir prints it: {}",
            place(&error, |what| what)
        )
    })?;
    let value = match printed.value {
        None if printed.value_base64.is_none() => {
            return Err("no record as weir prints it: it has no field value".to_owned());
        }
        value => bytes("value", value.flatten(), printed.value_base64)?,
    };
    let key = bytes("key", printed.key, printed.key_base64)?;
    if key.is_none() && value.is_none() {
        return Err("a record without key and value, which says nothing".to_owned());
    }
    let timestamp = printed.timestamp.map(|text| {
        let time = time::parse_printed(&text);
        time.ok_or_else(|| format!("timestamp {text:?} is no time"))
    });
    let headers = headers(printed.headers)?;
    let tag = bytes(TAG, printed.tag, printed.tag_base64)?;
    Ok(InputRecord {
        key,
        // It is among the headers, too.
        tag: tag.filter(|_| headers.iter().all(|(name, _)| name != TAG)),
        headers,
        timestamp: timestamp.transpose()?,
        value,
    })
}

fn bytes(
    name: &str,
    text: Option<String>,
    base64: Option<String>,
) -> Result<Option<Bytes>, String> {
    match (text, base64) {
        (Some(_), Some(_)) => Err(format!("it has both {name} and {name}_base64")),
        (None, Some(base64)) => decode(&format!("{name}_base64"), &base64).map(Some),
        (text, None) => Ok(text.map(Bytes::from)),
    }
}

fn decode(name: &str, base64: &str) -> Result<Bytes, String> {
    let bytes = BASE64_STANDARD.decode(base64);
    let bytes = bytes.map_err(|error| format!("{name} is no base64: {error}"))?;
    Ok(bytes.into())
}

/// In the order of the names; those of one name in the order of its list.
fn headers(object: Map<String, Value>) -> Result<Vec<(String, Bytes)>, String> {
    let mut headers = Vec::new();
    for (name, value) in object {
        let values = match value {
            Value::Array(values) => values,
            one => vec![one],
        };
        for value in values {
            let value = header(&name, value)?;
            headers.push((name.clone(), value));
        }
    }
    Ok(headers)
}

fn header(name: &str, value: Value) -> Result<Bytes, String> {
    match value {
        Value::String(text) => Ok(text.into()),
        Value::Object(object) => match object.get("base64").and_then(Value::as_str) {
            Some(base64) => decode(&format!("header {name:?}"), base64),
            None => Err(format!("header {name:?} is neither text nor base64")),
        },
        Value::Null => Err(format!(
            "header {name:?} has no value, which cannot be sent; give it one, or leave it out"
        )),
        _ => Err(format!("header {name:?} is neither text nor base64")),
    }
}
