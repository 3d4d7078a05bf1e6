//! Components that somebody has damaged: bytes changed, cut off, put in; sections lost, doubled,
//! exchanged; two components joined in the middle; the same in a module inside of a component, with
//! the lengths around it put right.

use super::dice::Dice;

/// Magic, version and layer.
const HEAD: usize = 8;
/// The id of a core module in a component.
const CORE_MODULE: u8 = 1;

/// One of many ways to damage `sound`; `other` lends its parts.
pub fn damaged(dice: &mut Dice, sound: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = sound.to_vec();
    for _ in 0..1 + dice.below(5) / 4 {
        match dice.below(12) {
            0 => bytes.truncate(dice.below(bytes.len()) + 1),
            1 => {
                let (at, from) = (dice.below(bytes.len()), dice.below(other.len()));
                bytes.truncate(at + 1);
                bytes.extend_from_slice(&other[from..]);
            }
            2 | 3 => dice.disturb(&mut bytes),
            4 => replace_number(dice, &mut bytes),
            5..9 => dice.nudge(&mut bytes),
            _ => bytes = with_other_sections(dice, &bytes, true).unwrap_or(bytes),
        }
    }
    bytes
}

/// Writes a number where one may stand.
fn replace_number(dice: &mut Dice, bytes: &mut [u8]) {
    let at = dice.below(bytes.len());
    let number: &[u8] = match dice.below(5) {
        0 => &[0xff, 0xff, 0xff, 0xff, 0x0f],
        1 => &[0x80, 0x80, 0x80, 0x80, 0x08],
        2 => &[0xff, 0xff, 0x03],
        3 => &[0x80, 0x80, 0x80, 0x80, 0x80],
        _ => &[0x7f],
    };
    let end = bytes.len().min(at + number.len());
    bytes[at..end].copy_from_slice(&number[..end - at]);
}

/// A component or module whose sections are not what they were; `None` if it has none.
fn with_other_sections(dice: &mut Dice, bytes: &[u8], is_component: bool) -> Option<Vec<u8>> {
    let head = bytes.get(..HEAD)?.to_vec();
    let mut sections = sections(bytes.get(HEAD..)?)?;
    if sections.is_empty() {
        return None;
    }
    let (one, other) = (dice.below(sections.len()), dice.below(sections.len()));
    let (id, mut content) = sections[one].clone();
    match dice.below(8) {
        0 => sections.swap(one, other),
        1 => drop(sections.remove(one)),
        2 => sections.insert(other, (id, content)),
        3 => sections[one].0 = dice.below(14) as u8,
        4 => sections[one].1 = sections[other].1.clone(),
        _ if is_component && id == CORE_MODULE => {
            sections[one].1 = with_other_sections(dice, &content, false)?;
        }
        5 => {
            dice.disturb(&mut content);
            sections[one].1 = content;
        }
        _ => {
            dice.nudge(&mut content);
            sections[one].1 = content;
        }
    }
    let mut made = head;
    for (id, content) in sections {
        made.push(id);
        made.extend(leb(content.len()));
        made.extend(content);
    }
    Some(made)
}

fn sections(mut bytes: &[u8]) -> Option<Vec<(u8, Vec<u8>)>> {
    let mut sections = Vec::new();
    while let Some((id, rest)) = bytes.split_first() {
        let (mut length, mut used) = (0_usize, 0);
        for byte in rest.iter().take(5) {
            length |= usize::from(byte & 0x7f) << (7 * used);
            used += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        sections.push((*id, rest.get(used..used + length)?.to_vec()));
        bytes = rest.get(used + length..)?;
    }
    Some(sections)
}

fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}
