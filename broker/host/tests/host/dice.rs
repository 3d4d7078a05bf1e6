//! Dice that fall in the same way for the same seed.

/// Numbers that mean something to lists and spans, among them where the puppet's image begins and
/// where its memory ends.
const WORDS: [u32; 7] = [
    0,
    1,
    1 << 20,
    2 << 20,
    (2 << 20) - 1,
    u32::MAX - 1,
    u32::MAX,
];

/// The same sequence of numbers for the same seed.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// splitmix64.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn pick<T: Copy>(&mut self, among: &[T]) -> T {
        among[self.below(among.len())]
    }

    /// Up to so many letters.
    pub fn bytes(&mut self, max: usize) -> Vec<u8> {
        let length = self.below(max + 1);
        (0..length).map(|_| b'a' + self.below(26) as u8).collect()
    }

    /// Changes one byte.
    pub fn nudge(&mut self, bytes: &mut [u8]) {
        if !bytes.is_empty() {
            let at = self.below(bytes.len());
            bytes[at] ^= 1 << self.below(8);
        }
    }

    /// Changes some bytes, cuts some off, or puts some in.
    pub fn disturb(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..1 + self.below(8) {
            if bytes.is_empty() {
                bytes.push(self.next() as u8);
            }
            let at = self.below(bytes.len());
            match self.below(8) {
                0 => bytes.truncate(at + 1),
                1 => bytes.insert(at, self.next() as u8),
                2 => bytes[at] = self.pick(&[0, 1, 0x7f, 0x80, 0xfe, 0xff]),
                3 => bytes[at] ^= 1 << self.below(8),
                4 => {
                    let end = bytes.len().min(at + 4);
                    let word = self.pick(&WORDS);
                    bytes[at..end].copy_from_slice(&word.to_le_bytes()[..end - at]);
                }
                _ => bytes[at] = self.next() as u8,
            }
        }
    }
}

/// How many rounds: more with `WEIR_DEEP`, which multiplies.
pub fn rounds(usually: u64) -> u64 {
    let deep = std::env::var("WEIR_DEEP");
    usually * deep.map_or(1, |factor| factor.parse().expect("WEIR_DEEP is a number"))
}

/// A seed of its own for each round of each test.
pub fn seed(what: &str, round: u64) -> u64 {
    let letters = what.bytes();
    letters.fold(round, |seed, letter| {
        (seed ^ u64::from(letter)).wrapping_mul(0x0100_0000_01b3)
    })
}
