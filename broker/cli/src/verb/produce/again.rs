//! The command that goes on where a run stopped.

use crate::input::LineNumber;

/// The same command with `--skip` at `lines`.
pub fn command(arguments: &[String], lines: LineNumber) -> String {
    let mut words = vec!["weir".to_owned()];
    let mut arguments = arguments.iter();
    while let Some(word) = arguments.next() {
        if word == "--skip" {
            arguments.next();
        } else if !word.starts_with("--skip=") {
            words.push(quote(word));
        }
    }
    words.push(format!("--skip {lines}"));
    words.join(" ")
}

/// The word as a shell reads it.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_command_further_on() {
        for (arguments, expected) in [
            (&["produce", "t", "f"][..], "weir produce t f --skip 7"),
            (
                &["produce", "t", "a b", "--skip", "3", "--header", "x=it's"],
                r"weir produce t 'a b' --header 'x=it'\''s' --skip 7",
            ),
            (
                &["produce", "--skip=3", "t", ""],
                "weir produce t '' --skip 7",
            ),
        ] {
            let arguments: Vec<_> = arguments.iter().map(|&word| word.to_owned()).collect();
            assert_eq!(command(&arguments, LineNumber::new(7)), expected);
        }
    }
}
