//! The contract once more, as plainly as it can be said: what each hook may answer, and what an
//! answer means. It shares nothing with the host.

use super::image::Image;
use crate::dice::Dice;
use std::time::Duration;
use weir_host::Decision;
use weir_wire::placement::OrderingKey;
use weir_wire::plugin::Hook;

const NONE: u32 = 0xffff_ffff;
const SAME: u32 = 0xffff_fffe;

/// A record as it was produced.
#[derive(Clone, Debug)]
pub struct Stored {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
}

/// A record that a mapper made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    pub offset: u32,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What becomes of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum Made {
    Kept(Vec<bool>),
    Keys(Vec<OrderingKey>),
    Routes(Vec<u64>),
    Decisions(Vec<Decision>),
    Outputs(Vec<(u32, Output)>, Vec<(u32, String)>),
}

/// An answer, in memory and as it is meant.
#[derive(Clone, Debug)]
pub struct Answer {
    pub image: Image,
    /// Nothing in memory says that it is somewhere else, is no text, or is of no known case.
    is_readable: bool,
    count: usize,
    meant: Meant,
}

#[derive(Clone, Debug)]
enum Meant {
    Kept(Vec<u8>),
    Keys(Vec<u8>, Vec<u32>),
    Routes(Vec<u64>, usize),
    Decisions(Vec<(u8, u64)>),
    Mapped(Mapped, bool),
}

#[derive(Clone, Debug, Default)]
struct Mapped {
    source: Vec<u32>,
    data: Vec<u8>,
    spans: Vec<u32>,
    headers: Vec<(u32, Vec<u8>, Option<Vec<u8>>)>,
    rejected: Vec<(u32, Vec<u8>)>,
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// As many as there should be, mostly.
fn length(dice: &mut Dice, right: usize) -> usize {
    match dice.below(20) {
        0 => right.saturating_sub(1),
        1 => right + 1,
        2 => dice.below(9),
        _ => right,
    }
}

impl Answer {
    pub fn new(dice: &mut Dice, hook: Hook, count: usize, routes: usize) -> Self {
        let (mut image, mut is_readable, meant) = match hook {
            Hook::Filter => kept(dice, count),
            Hook::Key => keys(dice, count),
            Hook::Route => sets(dice, count, routes),
            Hook::RetryPolicy => decisions(dice, count),
            _ => mapped(dice, count, hook == Hook::Project),
        };
        // An error that says so, and what is neither an error nor an answer.
        match dice.below(40) {
            0 => {
                let at = image.put(b"the plugin says no", 1);
                image.bytes[0] = 1;
                image.word(4, at);
                image.word(8, 18);
                is_readable = false;
            }
            1 => {
                image.bytes[0] = dice.pick(&[2, 3, 0x80, 0xff]);
                is_readable = false;
            }
            _ => {}
        }
        Self {
            image,
            is_readable,
            count,
            meant,
        }
    }

    /// What it makes of these records, `None` if it must be refused.
    pub fn made_of(&self, records: &[Stored], section: &[u8]) -> Option<Made> {
        if !self.is_readable {
            return None;
        }
        match &self.meant {
            Meant::Kept(verdicts) => {
                let sound = verdicts.len() == self.count && verdicts.iter().all(|v| *v <= 1);
                sound.then(|| Made::Kept(verdicts.iter().map(|v| *v == 1).collect()))
            }
            Meant::Keys(arena, spans) => {
                let arena = if arena.is_empty() { section } else { arena };
                if spans.len() != 2 * self.count {
                    return None;
                }
                let key = |span: &[u32]| match span[1] {
                    NONE => Some(OrderingKey::NONE),
                    length => slice(arena, span[0], length).map(OrderingKey::hash),
                };
                Some(Made::Keys(spans.chunks(2).map(key).collect::<Option<_>>()?))
            }
            Meant::Routes(sets, routes) => {
                let is_declared = |set: &u64| (0..64).all(|n| set >> n & 1 == 0 || n < *routes);
                let sound = sets.len() == self.count && sets.iter().all(is_declared);
                sound.then(|| Made::Routes(sets.clone()))
            }
            Meant::Decisions(decisions) => {
                if decisions.len() != self.count {
                    return None;
                }
                let decision = |(case, millis): &(u8, u64)| match case {
                    0 => Some(Decision::Delay(Duration::from_millis(*millis))),
                    1 => Some(Decision::DeadLetter),
                    2 => Some(Decision::ParkKey),
                    _ => None,
                };
                let decisions = decisions.iter().map(decision).collect::<Option<_>>();
                decisions.map(Made::Decisions)
            }
            Meant::Mapped(mapped, is_projection) => mapped.made_of(records, *is_projection),
        }
    }
}

impl Mapped {
    fn made_of(&self, records: &[Stored], is_projection: bool) -> Option<Made> {
        let count = records.len() as u32;
        let ascend = |numbers: &[u32]| numbers.windows(2).all(|two| two[0] <= two[1]);
        let source = &self.source;
        let rejected: Vec<u32> = self.rejected.iter().map(|(index, _)| *index).collect();
        let each_once = rejected.windows(2).all(|two| two[0] < two[1]);
        let known = source.iter().chain(&rejected).all(|index| *index < count);
        let either = !rejected.iter().any(|index| source.contains(index));
        if self.spans.len() != 4 * source.len() {
            return None;
        }
        if !(ascend(source) && each_once && known && either) {
            return None;
        }
        if is_projection && (*source != (0..count).collect::<Vec<_>>() || !rejected.is_empty()) {
            return None;
        }
        let changed: Vec<u32> = self.headers.iter().map(|(output, ..)| *output).collect();
        let most = |output: &u32| changed.iter().filter(|other| *other == output).count() <= 64;
        let named = |output: &u32| (*output as usize) < source.len();
        let short = self.headers.iter().all(|(_, name, _)| name.len() <= 256);
        if !(ascend(&changed) && changed.iter().all(|n| most(n) && named(n)) && short) {
            return None;
        }
        let mut outputs = Vec::new();
        for (output, (index, span)) in source.iter().zip(self.spans.chunks(4)).enumerate() {
            let stored = &records[*index as usize];
            outputs.push((
                *index,
                Output {
                    offset: if is_projection { *index } else { output as u32 },
                    key: self.piece(span[0], span[1], stored.key.as_ref())?,
                    value: self.piece(span[2], span[3], stored.value.as_ref())?,
                    headers: self.headers_of(output as u32, stored),
                },
            ));
        }
        let reason = |(index, reason): &(u32, Vec<u8>)| {
            let kept = String::from_utf8_lossy(&reason[..reason.len().min(1024)]);
            (*index, kept.into_owned())
        };
        let rejected = self.rejected.iter().map(reason).collect();
        Some(Made::Outputs(outputs, rejected))
    }

    /// Outer `None`: outside the data.
    fn piece(&self, start: u32, length: u32, stored: Option<&Vec<u8>>) -> Option<Option<Vec<u8>>> {
        match length {
            SAME => Some(stored.cloned()),
            NONE => Some(None),
            length => slice(&self.data, start, length).map(|bytes| Some(bytes.to_vec())),
        }
    }

    /// One change after the other.
    fn headers_of(&self, output: u32, stored: &Stored) -> Vec<(Vec<u8>, Vec<u8>)> {
        let headers = stored.headers.iter();
        let mut headers: Vec<(Vec<u8>, Vec<u8>)> = headers
            .map(|(name, value)| (name.clone().into_bytes(), value.clone()))
            .collect();
        for (_, name, value) in self.headers.iter().filter(|change| change.0 == output) {
            headers.retain(|(other, _)| other != name);
            if let Some(value) = value {
                headers.push((name.clone(), value.clone()));
            }
        }
        headers
    }
}

fn slice(bytes: &[u8], start: u32, length: u32) -> Option<&[u8]> {
    let end = u64::from(start) + u64::from(length);
    (end <= bytes.len() as u64).then(|| &bytes[start as usize..end as usize])
}

/// A span into so many bytes, now and then one that does not lie in them.
fn span(dice: &mut Dice, bytes: usize) -> [u32; 2] {
    let bytes = bytes as u32;
    let start = dice.below(bytes as usize + 1) as u32;
    match dice.below(40) {
        0 => [start, bytes - start + 1],
        1 => [bytes + 1, 0],
        2 => [u32::MAX, 1],
        3 => [start, 0x7fff_ffff],
        4 => [u32::MAX - 1, u32::MAX - 2],
        5..10 => [dice.next() as u32, NONE],
        10..15 => [start, bytes - start],
        15 => [bytes, 0],
        _ => [start, dice.below((bytes - start) as usize + 1) as u32],
    }
}

type Readable = (Image, bool, Meant);

fn kept(dice: &mut Dice, count: usize) -> Readable {
    let length = length(dice, count);
    let verdict = |dice: &mut Dice| match dice.below(40) {
        0 => dice.pick(&[2, 3, 127, 128, 255]),
        other => (other % 2) as u8,
    };
    let verdicts: Vec<u8> = (0..length).map(|_| verdict(dice)).collect();
    let mut image = Image::new(12);
    let is_readable = image.list(dice, 4, &verdicts, (1, 1));
    (image, is_readable, Meant::Kept(verdicts))
}

fn keys(dice: &mut Dice, count: usize) -> Readable {
    let arena = if dice.chance(50) {
        dice.bytes(30)
    } else {
        Vec::new()
    };
    // Of the stored bytes the first few are there for sure.
    let bytes = if arena.is_empty() { 20 } else { arena.len() };
    let length = match dice.below(20) {
        0 => 2 * count + 1,
        _ => 2 * length(dice, count),
    };
    let spans: Vec<u32> = (0..length.div_ceil(2))
        .flat_map(|_| span(dice, bytes))
        .collect();
    let spans = spans[..length].to_vec();
    let mut image = Image::new(20);
    let arena_is = image.list(dice, 4, &arena, (1, 1));
    let spans_are = image.list(dice, 12, &words(&spans), (4, 4));
    (image, arena_is && spans_are, Meant::Keys(arena, spans))
}

fn sets(dice: &mut Dice, count: usize, routes: usize) -> Readable {
    let declared = if routes == 0 {
        0
    } else {
        u64::MAX >> (64 - routes)
    };
    let set = |dice: &mut Dice| match dice.below(30) {
        0 => 1 << (routes % 64),
        1 => 1 << 63,
        2 => u64::MAX,
        3 => declared,
        _ => dice.next() & declared,
    };
    let length = length(dice, count);
    let sets: Vec<u64> = (0..length).map(|_| set(dice)).collect();
    let bytes: Vec<u8> = sets.iter().flat_map(|set| set.to_le_bytes()).collect();
    let mut image = Image::new(16);
    let is_readable = image.list(dice, 4, &bytes, (8, 8));
    (image, is_readable, Meant::Routes(sets, routes))
}

fn decisions(dice: &mut Dice, count: usize) -> Readable {
    let decision = |dice: &mut Dice| {
        let case = match dice.below(40) {
            0 => dice.pick(&[3, 4, 0x80, 0xff]),
            other => (other % 3) as u8,
        };
        (case, dice.pick(&[0, 1, 60_000, 1 << 40, u64::MAX]))
    };
    let length = length(dice, count);
    let decisions: Vec<(u8, u64)> = (0..length).map(|_| decision(dice)).collect();
    let mut bytes = Vec::new();
    for (case, millis) in &decisions {
        // What lies between is nobody's.
        bytes.extend_from_slice(&[*case, 9, 9, 9, 9, 9, 9, 9]);
        bytes.extend_from_slice(&millis.to_le_bytes());
    }
    let is_known = decisions.iter().all(|(case, _)| *case <= 2);
    let mut image = Image::new(16);
    let is_true = image.list(dice, 4, &bytes, (16, 8));
    (image, is_true && is_known, Meant::Decisions(decisions))
}

fn mapped(dice: &mut Dice, count: usize, is_projection: bool) -> Readable {
    let mut mapped = Mapped {
        data: dice.bytes(40),
        ..Mapped::default()
    };
    choose_sources(dice, &mut mapped, count, is_projection);
    for _ in 0..mapped.source.len() {
        for _ in 0..2 {
            let own = span(dice, mapped.data.len());
            let same = [dice.next() as u32, SAME];
            let chosen = if dice.chance(60) { same } else { own };
            mapped.spans.extend(chosen);
        }
    }
    if dice.chance(3) {
        mapped.spans.pop();
    }
    let are_texts = choose_headers(dice, &mut mapped);
    let (image, is_true) = image_of(dice, &mapped);
    let is_readable = is_true && are_texts;
    (image, is_readable, Meant::Mapped(mapped, is_projection))
}

fn choose_sources(dice: &mut Dice, mapped: &mut Mapped, count: usize, is_projection: bool) {
    let wrong = dice.chance(8);
    for index in 0..count as u32 {
        let times = match dice.below(10) {
            _ if is_projection && !wrong => 1,
            0 | 1 => 0,
            2 => 2,
            3 => 3,
            _ => 1,
        };
        mapped.source.extend((0..times).map(|_| index));
        if times == 0 && dice.chance(60) {
            let length = dice.pick(&[0, 5, 1023, 1024, 1025]);
            mapped.rejected.push((index, vec![b'r'; length]));
        }
    }
    match dice.below(40) {
        0 => mapped.source.reverse(),
        1 => mapped.source.push(count as u32),
        2 => mapped.source.push(u32::MAX),
        3 => mapped.rejected.push((count as u32, b"beyond".to_vec())),
        4 => mapped.rejected.push((0, b"first".to_vec())),
        5 => mapped
            .rejected
            .insert(0, (count as u32 - 1, b"last".to_vec())),
        _ => {}
    }
}

/// Whether all names are texts.
fn choose_headers(dice: &mut Dice, mapped: &mut Mapped) -> bool {
    for output in 0..mapped.source.len() as u32 {
        let changes = if dice.chance(50) { dice.below(4) } else { 0 };
        for _ in 0..changes {
            let name = match dice.below(30) {
                0 => vec![b'n'; 256],
                1 => Vec::new(),
                _ => dice.pick(&["a", "b", "tag", "new"]).as_bytes().to_vec(),
            };
            let value = dice.chance(70).then(|| dice.bytes(10));
            mapped.headers.push((output, name, value));
        }
    }
    let change = |output| (output, b"odd".to_vec(), None);
    let outputs = mapped.source.len() as u32;
    match dice.below(60) {
        0 => mapped.headers.reverse(),
        1 => mapped.headers.push(change(outputs)),
        2 => mapped.headers.push(change(u32::MAX)),
        3 => mapped.headers = (0..65).map(|_| change(0)).collect(),
        4 => mapped.headers = (0..64).map(|_| change(0)).collect(),
        5 => mapped.headers = vec![(0, vec![b'n'; 257], None)],
        6 => {
            mapped.headers = vec![(0, b"\xc3\x28".to_vec(), None)];
            return false;
        }
        _ => {}
    }
    true
}

/// Whether it is in memory as it is meant.
fn image_of(dice: &mut Dice, mapped: &Mapped) -> (Image, bool) {
    let mut image = Image::new(44);
    let mut is_true = image.list(dice, 4, &words(&mapped.source), (4, 4));
    is_true &= image.list(dice, 12, &mapped.data, (1, 1));
    is_true &= image.list(dice, 20, &words(&mapped.spans), (4, 4));
    let mut changes = Vec::new();
    for (output, name, value) in &mapped.headers {
        let name_at = image.put(name, 1);
        let value_at = value.as_ref().map(|value| image.put(value, 1));
        let case = u32::from(value.is_some());
        let value_len = value.as_ref().map_or(0, Vec::len) as u32;
        let name_len = name.len() as u32;
        let change = [
            *output,
            name_at,
            name_len,
            case,
            value_at.unwrap_or(0),
            value_len,
        ];
        changes.extend(words(&change));
    }
    is_true &= image.list(dice, 28, &changes, (24, 4));
    let mut rejected = Vec::new();
    for (index, reason) in &mapped.rejected {
        let at = image.put(reason, 1);
        rejected.extend(words(&[*index, at, reason.len() as u32]));
    }
    is_true &= image.list(dice, 36, &rejected, (12, 4));
    (image, is_true)
}

/// What `configure` may answer, and whether it is granted.
pub fn projection(dice: &mut Dice) -> (Image, bool) {
    let mut image = Image::new(16);
    for at in 4..7 {
        image.bytes[at] = dice.pick(&[0, 1, 1, 2, 255]);
    }
    let count = match dice.below(10) {
        0 => dice.pick(&[31, 32, 33, 34]),
        _ => dice.below(6),
    };
    let mut is_granted = count <= 32;
    let mut names = Vec::new();
    for _ in 0..count {
        let name = match dice.below(60) {
            0 => vec![b'n'; 256],
            1 => vec![b'n'; 257],
            2 => b"\xff".to_vec(),
            _ => dice.bytes(8),
        };
        is_granted &= name.len() <= 256 && std::str::from_utf8(&name).is_ok();
        let at = image.put(&name, 1);
        names.extend(words(&[at, name.len() as u32]));
    }
    is_granted &= image.list(dice, 8, &names, (8, 4));
    if dice.chance(5) {
        image.bytes[0] = dice.pick(&[2, 9, 255]);
        is_granted = false;
    }
    (image, is_granted)
}
