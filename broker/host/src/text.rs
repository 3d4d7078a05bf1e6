//! What plugins say, made fit for other people's terminals.

use crate::logs::cut;
use std::borrow::Cow;

/// At most so many bytes of the text, on one line, without characters that move the cursor of a
/// terminal, change its colours or turn the direction of writing: those are spelled out.
pub(crate) fn one_line(text: &str, bytes: usize) -> String {
    let text = text.trim_end();
    let mut line = Cow::Borrowed(text);
    if text.contains(acts) {
        let line = line.to_mut();
        line.clear();
        // What is beyond the bound is not looked at.
        for character in cut(text, bytes).chars() {
            match character {
                '\n' => line.push(' '),
                '\r' => {}
                _ if acts(character) => line.extend(character.escape_default()),
                _ => line.push(character),
            }
        }
    }
    cut(&line, bytes).to_owned()
}

/// Whether a character does something instead of being shown.
fn acts(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(character, '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn what_would_act_on_a_terminal_is_spelled_out() {
        let check = |text: &str, expected: &str| assert_eq!(one_line(text, 24), expected);
        check("héllo \"wörld\"", "héllo \"wörld\"");
        check("two\r\nlines\n", "two lines");
        check("\u{1b}[2J\t\u{7f}", "\\u{1b}[2J\\t\\u{7f}");
        check("a\u{202e}b\u{9b}", "a\\u{202e}b\\u{9b}");
        assert_eq!(one_line("\u{1b}\u{1b}", 8), "\\u{1b}\\u", "cut afterwards");
        assert_eq!(one_line("héllo", 2), "h");
    }
}
