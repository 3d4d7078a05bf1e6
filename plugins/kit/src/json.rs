//! The top-level fields of a JSON object: reading and replacing them without building a tree.
//!
//! Every function walks the whole text once, so that a body that is not JSON is always an error,
//! wherever the mistake is. Of a repeated name the last one counts when it is read (as in
//! JavaScript and most libraries), and all are changed when it is replaced. Nesting is followed
//! with a counter, not with recursion.

mod edit;
mod scan;
#[cfg(test)]
mod tests;
mod text;

use scan::Scanner;
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

pub use edit::{Edit, quoted, replace, rewrite};
pub use text::Text;

/// Objects and arrays may be nested this deep.
pub const NESTING_MAX: usize = 128;

/// A JSON value; numbers stay as they were written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as its JSON text.
    Number(&'a str),
    /// A string.
    String(Text<'a>),
    /// An array or object, as its JSON text.
    Nested(&'a str),
}

impl<'a> Value<'a> {
    /// What people mean by the value when they sort or route by it: a string's own text, the JSON
    /// text of a number or a truth value; nothing for `null`, arrays and objects.
    #[must_use]
    pub fn scalar(self) -> Option<Cow<'a, str>> {
        match self {
            Self::String(text) => Some(text.unescaped()),
            Self::Number(text) => Some(Cow::Borrowed(text)),
            Self::Bool(true) => Some(Cow::Borrowed("true")),
            Self::Bool(false) => Some(Cow::Borrowed("false")),
            Self::Null | Self::Nested(_) => None,
        }
    }
}

/// Why a text is not a JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    what: &'static str,
    at: usize,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the body is not a JSON object: {} at byte {}",
            self.what, self.at
        )
    }
}

impl std::error::Error for Error {}

/// The value of the field `name` of the object `body`, `None` if it has no such field.
///
/// ```
/// use weir_plugin::json::{self, Value};
///
/// let body = br#"{"carrier":"UA","dep_delay":17,"dest":{"name":"IAH"}}"#;
/// assert_eq!(json::field(body, "dep_delay")?, Some(Value::Number("17")));
/// assert_eq!(json::field(body, "name")?, None);
/// assert_eq!(
///     json::field(b"[1]", "name").unwrap_err().to_string(),
///     "the body is not a JSON object: something else than an object at byte 0"
/// );
/// # Ok::<(), json::Error>(())
/// ```
///
/// # Errors
/// If `body` is not one JSON object.
pub fn field<'a>(body: &'a [u8], name: &str) -> Result<Option<Value<'a>>, Error> {
    let mut found = None;
    walk(body, |field| {
        if field.name.is(name) {
            found = Some(field.value);
        }
    })?;
    Ok(found)
}

/// The values of several fields, found in one pass.
///
/// ```
/// use weir_plugin::json::{self, Value};
///
/// let body = br#"{"origin":"EWR","dep_delay":null}"#;
/// let [delay, dest] = json::fields(body, ["dep_delay", "dest"])?;
/// assert_eq!((delay, dest), (Some(Value::Null), None));
/// # Ok::<(), json::Error>(())
/// ```
///
/// # Errors
/// If `body` is not one JSON object.
pub fn fields<'a, const N: usize>(
    body: &'a [u8],
    names: [&str; N],
) -> Result<[Option<Value<'a>>; N], Error> {
    let mut found = [None; N];
    walk(body, |field| {
        for (name, found) in names.iter().zip(&mut found) {
            if field.name.is(name) {
                *found = Some(field.value);
            }
        }
    })?;
    Ok(found)
}

/// Calls `each` with the name and the value of every field, in their order.
///
/// # Errors
/// If `body` is not one JSON object; `each` may then have seen some fields.
pub fn each_field<'a>(
    body: &'a [u8],
    mut each: impl FnMut(Text<'a>, Value<'a>),
) -> Result<(), Error> {
    walk(body, |field| each(field.name, field.value))?;
    Ok(())
}

/// A field and where it stands.
struct Field<'a> {
    name: Text<'a>,
    /// Where the quote before the name stands.
    start: usize,
    value: Value<'a>,
    /// Where the value stands.
    place: Range<usize>,
}

/// Passes every field on; answers where the brace stands that ends the object.
#[inline]
fn walk<'a>(body: &'a [u8], mut each: impl FnMut(Field<'a>)) -> Result<usize, Error> {
    let body = std::str::from_utf8(body).map_err(|error| Error {
        what: "text that is not UTF-8",
        at: error.valid_up_to(),
    })?;
    let mut scanner = Scanner::new(body);
    scanner.expect(b'{', "something else than an object")?;
    let mut end = scanner.position();
    if !scanner.accept(b'}') {
        loop {
            let start = scanner.position();
            let name = scanner.name()?;
            let (value, place) = scanner.value()?;
            each(Field {
                name,
                start,
                value,
                place,
            });
            end = scanner.position();
            if !scanner.accept(b',') {
                break scanner.expect(b'}', "neither a comma nor the end of the object")?;
            }
        }
    }
    scanner.end()?;
    Ok(end)
}
