//! Bytes as a component has them in its memory.

use crate::dice::Dice;

/// Where the puppet puts an image, and where its memory ends.
const BASE: u32 = 1 << 20;
const END: u32 = 2 << 20;

/// An answer in memory.
#[derive(Clone, Debug)]
pub struct Image {
    pub bytes: Vec<u8>,
}

impl Image {
    /// Zeros where the fixed part of the answer goes.
    pub fn new(head: usize) -> Self {
        Self {
            bytes: vec![0; head],
        }
    }

    /// A sound answer of a filter.
    pub fn verdicts(verdicts: &[u8]) -> Self {
        let mut image = Self::new(12);
        let at = image.put(verdicts, 1);
        image.word(4, at);
        image.word(8, verdicts.len() as u32);
        image
    }

    pub fn word(&mut self, at: usize, word: u32) {
        self.bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }

    /// Appends some bytes; where they are in the component's memory.
    pub fn put(&mut self, bytes: &[u8], align: usize) -> u32 {
        self.bytes
            .resize(self.bytes.len().next_multiple_of(align), 0xaa);
        let at = BASE + self.bytes.len() as u32;
        self.bytes.extend_from_slice(bytes);
        at
    }

    /// Appends a list and writes at `at` where it is, or, now and then, a lie; whether it is true.
    pub fn list(&mut self, dice: &mut Dice, at: usize, bytes: &[u8], item: (usize, usize)) -> bool {
        let (size, align) = item;
        let start = self.put(bytes, align);
        let count = (bytes.len() / size) as u32;
        let crooked = start + 1;
        let beyond = END - bytes.len() as u32 + align as u32;
        let (start, count, is_true) = match dice.below(200) {
            0 => (u32::MAX - 15, count, false),
            1 => (END + 8, count, false),
            2 if !bytes.is_empty() => (beyond, count, false),
            3 => (start, u32::MAX, false),
            4 => (start, u32::MAX / size as u32, false),
            5 => (start, 1 << 31, false),
            6 if align > 1 => (crooked, count, false),
            _ => (start, count, true),
        };
        self.word(at, start);
        self.word(at + 4, count);
        is_true
    }

    /// As a setting of the puppet.
    pub fn letters(&self) -> String {
        let digits = self.bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        digits.map(|digit| char::from(b'a' + digit)).collect()
    }
}
