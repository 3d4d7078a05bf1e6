//! One top-level field of a JSON object, without building a tree.
//!
//! [`field`] walks the whole text once, so that a body that is not JSON is always an error,
//! wherever the mistake is, and of a repeated name the last one counts (as in JavaScript and most
//! libraries). Nesting is followed with a counter, not with recursion.

mod scan;
#[cfg(test)]
mod tests;
mod text;

use scan::Scanner;
use std::borrow::Cow;
use std::fmt;

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
/// # Errors
/// If `body` is not one JSON object.
pub fn field<'a>(body: &'a [u8], name: &str) -> Result<Option<Value<'a>>, Error> {
    let body = std::str::from_utf8(body).map_err(|error| Error {
        what: "text that is not UTF-8",
        at: error.valid_up_to(),
    })?;
    let mut scanner = Scanner::new(body);
    let mut found = None;
    scanner.expect(b'{', "something else than an object")?;
    if !scanner.accept(b'}') {
        loop {
            let field = scanner.name()?;
            let value = scanner.value()?;
            if field.is(name) {
                found = Some(value);
            }
            if !scanner.accept(b',') {
                break scanner.expect(b'}', "neither a comma nor the end of the object")?;
            }
        }
    }
    scanner.end()?;
    Ok(found)
}
