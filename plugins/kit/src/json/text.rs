//! A JSON string as it stands in its text, unescaped only when somebody needs it.

use std::borrow::Cow;

/// A JSON string: what stands between the quotes. The scanner has checked its escapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<'a> {
    raw: &'a str,
    escaped: bool,
}

impl<'a> Text<'a> {
    pub(super) fn new(raw: &'a str, escaped: bool) -> Self {
        Self { raw, escaped }
    }

    /// The text that the string stands for; a slice of the body unless it holds escapes. A lone
    /// surrogate becomes U+FFFD.
    #[must_use]
    pub fn unescaped(self) -> Cow<'a, str> {
        if self.escaped {
            Cow::Owned(unescape(self.raw))
        } else {
            Cow::Borrowed(self.raw)
        }
    }

    /// Whether the string stands for `other`.
    #[inline]
    #[must_use]
    pub fn is(self, other: &str) -> bool {
        if self.escaped {
            unescape(self.raw) == other
        } else {
            self.raw == other
        }
    }
}

fn unescape(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((plain, escape)) = rest.split_once('\\') {
        text.push_str(plain);
        let mut after = escape.chars();
        match after.next() {
            Some('b') => text.push('\u{8}'),
            Some('f') => text.push('\u{c}'),
            Some('n') => text.push('\n'),
            Some('r') => text.push('\r'),
            Some('t') => text.push('\t'),
            Some('u') => {
                let (character, used) = code_point(after.as_str());
                text.push(character);
                after = after.as_str().get(used..).unwrap_or_default().chars();
            }
            Some(itself) => text.push(itself),
            None => {}
        }
        rest = after.as_str();
    }
    text.push_str(rest);
    text
}

/// The character that the digits after `\u` stand for, together with a second escape if they are
/// the first half of a pair; and how many bytes that takes.
fn code_point(digits: &str) -> (char, usize) {
    let first = unit(digits);
    if let Some(character) = char::from_u32(first) {
        return (character, 4);
    }
    let second = digits
        .get(4..)
        .and_then(|rest| rest.strip_prefix("\\u"))
        .map_or(0, unit);
    if (0xd800..0xdc00).contains(&first) && (0xdc00..0xe000).contains(&second) {
        let point = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        return (
            char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER),
            10,
        );
    }
    (char::REPLACEMENT_CHARACTER, 4)
}

fn unit(digits: &str) -> u32 {
    digits
        .get(..4)
        .and_then(|hex| u32::from_str_radix(hex, 16).ok())
        .unwrap_or(0xfffd)
}
