//! Changing fields of a JSON object in its text: everything else stays as it was written.

use super::{Error, Field, Text, Value, walk};
use std::borrow::Cow;
use std::fmt::Write;

/// What becomes of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit<'a> {
    /// It stays.
    Keep,
    /// Its value becomes this JSON text; [`quoted`] makes one of a string.
    Replace(Cow<'a, str>),
    /// It goes, name and value.
    Remove,
}

/// The object with the value of its field `name` replaced by the JSON text `value`; `None` if it
/// has no such field.
///
/// ```
/// use weir_plugin::json;
///
/// let body = br#"{"tailnum":"N14228", "dep_delay":2}"#;
/// let masked = json::replace(body, "tailnum", "\"***\"")?;
/// assert_eq!(masked.as_deref(), Some(&br#"{"tailnum":"***", "dep_delay":2}"#[..]));
/// assert_eq!(json::replace(body, "none", "0")?, None);
/// # Ok::<(), json::Error>(())
/// ```
///
/// # Errors
/// If `body` is not one JSON object.
pub fn replace(body: &[u8], name: &str, value: &str) -> Result<Option<Vec<u8>>, Error> {
    let (mut changed, mut found) = (Vec::with_capacity(body.len() + value.len()), false);
    rewrite(body, &mut changed, |field, _| {
        if field.is(name) {
            found = true;
            Edit::Replace(Cow::Borrowed(value))
        } else {
            Edit::Keep
        }
    })?;
    Ok(found.then_some(changed))
}

/// Writes the object to `to`, with its fields changed as `edit` says of each. `to` may be the
/// [`Buffer`](crate::Buffer) of an output or a `Vec<u8>`.
///
/// ```
/// use weir_plugin::json::{self, Edit, Value};
///
/// let body = br#"{"id":7,"name":"Ann","secret":"x"}"#;
/// let mut changed = Vec::new();
/// json::rewrite(body, &mut changed, |name, value| match value {
///     _ if name.is("secret") => Edit::Remove,
///     Value::String(_) => Edit::Replace("null".into()),
///     _ => Edit::Keep,
/// })?;
/// assert_eq!(changed, br#"{"id":7,"name":null}"#);
/// # Ok::<(), json::Error>(())
/// ```
///
/// # Errors
/// If `body` is not one JSON object; a part of it may then have been written.
pub fn rewrite<'a, 'e>(
    body: &'a [u8],
    to: &mut impl for<'b> Extend<&'b u8>,
    mut edit: impl FnMut(Text<'a>, Value<'a>) -> Edit<'e>,
) -> Result<(), Error> {
    // `copied` is how far the text has been dealt with; `kept` where the last field ends that
    // stays, so that one that goes after it takes the comma between them along. Before any stays,
    // the field that goes takes the comma behind it: what follows is copied from its name on.
    let (mut copied, mut kept, mut at_name) = (0, None, false);
    let end = walk(body, |field: Field<'a>| {
        if std::mem::take(&mut at_name) {
            copied = field.start;
        }
        match edit(field.name, field.value) {
            Edit::Keep => kept = Some(field.place.end),
            Edit::Replace(value) => {
                to.extend(body.get(copied..field.place.start).unwrap_or_default());
                to.extend(value.as_bytes());
                copied = field.place.end;
                kept = Some(copied);
            }
            Edit::Remove => {
                let until = kept.unwrap_or(field.start);
                to.extend(body.get(copied..until).unwrap_or_default());
                copied = field.place.end;
                at_name = kept.is_none();
                kept = kept.map(|_| copied);
            }
        }
    })?;
    if at_name {
        copied = end;
    }
    to.extend(body.get(copied..).unwrap_or_default());
    Ok(())
}

/// A text as a JSON string, with its quotes.
///
/// ```
/// assert_eq!(weir_plugin::json::quoted("say \"hi\"\n"), r#""say \"hi\"\n""#);
/// ```
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            control if u32::from(control) < 0x20 => {
                write!(json, "\\u{:04x}", u32::from(control)).expect("a string takes any text");
            }
            plain => json.push(plain),
        }
    }
    json.push('"');
    json
}
