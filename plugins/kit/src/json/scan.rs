//! The scanner behind [`super::field`]: RFC 8259, one pass, no recursion, no panic.

use super::{Error, NESTING_MAX, Text, Value};
use std::ops::Range;

pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let mut scanner = Self { text, at: 0 };
        scanner.skip_space();
        scanner
    }

    /// Takes `byte` and the white space after it, if it is next.
    pub(super) fn accept(&mut self, byte: u8) -> bool {
        let next = self.peek() == Some(byte);
        if next {
            self.at += 1;
            self.skip_space();
        }
        next
    }

    pub(super) fn expect(&mut self, byte: u8, otherwise: &'static str) -> Result<(), Error> {
        if self.accept(byte) {
            Ok(())
        } else {
            Err(self.error(otherwise))
        }
    }

    /// A field's name and the colon after it.
    pub(super) fn name(&mut self) -> Result<Text<'a>, Error> {
        let name = self.string()?;
        self.skip_space();
        self.expect(b':', "no colon after a field's name")?;
        Ok(name)
    }

    /// A value and the white space after it; and where the value stands.
    pub(super) fn value(&mut self) -> Result<(Value<'a>, Range<usize>), Error> {
        let start = self.at;
        let value = match self.peek() {
            Some(b'"') => Value::String(self.string()?),
            Some(b'{' | b'[') => self.nested()?,
            _ => self.scalar()?,
        };
        let place = start..self.at;
        self.skip_space();
        Ok((value, place))
    }

    /// How far it has come.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Nothing may follow.
    pub(super) fn end(&self) -> Result<(), Error> {
        if self.at == self.text.len() {
            Ok(())
        } else {
            Err(self.error("text after the object"))
        }
    }

    fn error(&self, what: &'static str) -> Error {
        Error { what, at: self.at }
    }

    #[inline]
    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes().get(self.at).copied()
    }

    #[inline]
    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// The text from `start` to here. Both lie beside ASCII bytes, so on character boundaries.
    fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn scalar(&mut self) -> Result<Value<'a>, Error> {
        let words = [
            ("null", Value::Null),
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
        ];
        match self.peek() {
            Some(b'-' | b'0'..=b'9') => return self.number(),
            None => return Err(self.error("the text ends early")),
            Some(_) => {}
        }
        for (word, value) in words {
            if self
                .bytes()
                .get(self.at..)
                .is_some_and(|rest| rest.starts_with(word.as_bytes()))
            {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.error("something that is no value"))
    }

    fn number(&mut self) -> Result<Value<'a>, Error> {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(Value::Number(self.since(start)))
    }

    fn digits(&mut self) -> Result<(), Error> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at > start {
            Ok(())
        } else {
            Err(self.error("a number without digits"))
        }
    }

    fn string(&mut self) -> Result<Text<'a>, Error> {
        if self.peek() != Some(b'"') {
            return Err(self.error("something else than a string"));
        }
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at += plain_bytes(self.bytes().get(self.at..).unwrap_or_default());
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return Err(self.error("a control character in a string")),
                None => return Err(self.error("a string without an end")),
            }
        }
        let text = Text::new(self.since(start), escaped);
        self.at += 1;
        Ok(text)
    }

    fn escape(&mut self) -> Result<(), Error> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.peek().is_some_and(|digit| digit.is_ascii_hexdigit()) {
                        return Err(self.error("an escape without four hex digits"));
                    }
                    self.at += 1;
                }
            }
            _ => return Err(self.error("an unknown escape")),
        }
        Ok(())
    }

    /// An object or array, checked but not kept. `open` holds one bit per level: 1 is an object.
    fn nested(&mut self) -> Result<Value<'a>, Error> {
        let start = self.at;
        let (mut open, mut depth) = (0u128, 0);
        loop {
            // Here a value is due.
            if let Some(bracket @ (b'{' | b'[')) = self.peek() {
                if depth == NESTING_MAX {
                    return Err(self.error("nesting deeper than 128 levels"));
                }
                depth += 1;
                open = open << 1 | u128::from(bracket == b'{');
                self.at += 1;
                self.skip_space();
                if self.peek() != Some(closing(open)) {
                    if bracket == b'{' {
                        self.name()?;
                    }
                    continue;
                }
            } else {
                match self.peek() {
                    Some(b'"') => drop(self.string()?),
                    _ => drop(self.scalar()?),
                }
                self.skip_space();
            }
            // A value has ended, or a bracket is about to close; then more may close.
            loop {
                if self.peek() == Some(closing(open)) {
                    self.at += 1;
                    depth -= 1;
                    open >>= 1;
                    if depth == 0 {
                        return Ok(Value::Nested(self.since(start)));
                    }
                    self.skip_space();
                    continue;
                }
                self.expect(b',', "neither a comma nor a closing bracket")?;
                if open & 1 == 1 {
                    self.name()?;
                }
                break;
            }
        }
    }
}

fn closing(open: u128) -> u8 {
    if open & 1 == 1 { b'}' } else { b']' }
}

/// How many bytes come before the next quote, backslash or control character; eight at a time.
#[inline]
fn plain_bytes(bytes: &[u8]) -> usize {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let zero_bytes = |word: u64| word.wrapping_sub(LOW) & !word & HIGH;
    let mut at = 0;
    let (words, _) = bytes.as_chunks::<8>();
    for word in words {
        let word = u64::from_le_bytes(*word);
        let control = word.wrapping_sub(LOW * 0x20) & !word & HIGH;
        let special = zero_bytes(word ^ (LOW * 0x22)) | zero_bytes(word ^ (LOW * 0x5c)) | control;
        // A borrow can only mark a byte above one that is rightly marked, so the lowest is exact.
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    let special = |byte: &u8| *byte == b'"' || *byte == b'\\' || *byte < 0x20;
    at + rest.iter().position(special).unwrap_or(rest.len())
}
