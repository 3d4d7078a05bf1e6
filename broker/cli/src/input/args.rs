//! The flags that say how input becomes records: the same at `produce` and at `plugin test`.

use std::path::Path;

use super::{Format, LineRules};
use crate::exit::Failure;
use crate::verb::setting;

/// How input is read, and what every record gets besides.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct LineArgs {
    /// How the input is cut into records; by default ndjson where a field or the file's name says
    /// so, else lines
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// The top-level JSON field that is the key
    #[arg(long, value_name = "FIELD", conflicts_with = "key_separator")]
    pub key_field: Option<String>,
    /// What stands between key and value in a line
    #[arg(
        long,
        value_name = "TEXT",
        value_parser = clap::builder::NonEmptyStringValueParser::new()
    )]
    pub key_separator: Option<String>,
    /// A header for every record
    #[arg(long = "header", value_name = "K=V", value_parser = header)]
    pub headers: Vec<(String, String)>,
    /// The tag of every record; with `--format record` of those that have none
    #[arg(long, conflicts_with = "tag_field")]
    pub tag: Option<String>,
    /// The top-level JSON field that is the tag
    #[arg(long, value_name = "FIELD")]
    pub tag_field: Option<String>,
}

fn header(text: &str) -> Result<(String, String), String> {
    let setting = setting(text)?;
    Ok((setting.name, setting.value))
}

impl LineArgs {
    /// Whether any of them was given.
    pub fn is_given(&self) -> bool {
        self.format.is_some()
            || self.key_field.is_some()
            || self.key_separator.is_some()
            || !self.headers.is_empty()
            || self.tag.is_some()
            || self.tag_field.is_some()
    }

    /// What a line of that file becomes.
    pub fn rules(&self, input: &Path) -> Result<LineRules, Failure> {
        let wants_field = self.key_field.is_some() || self.tag_field.is_some();
        let format = self.format.unwrap_or_else(|| {
            if wants_field || is_ndjson(input) && self.key_separator.is_none() {
                Format::Ndjson
            } else {
                Format::Lines
            }
        });
        if wants_field && format != Format::Ndjson {
            return Err(Failure::usage(
                "fields are in JSON; use --format ndjson with them",
            ));
        }
        if self.key_separator.is_some() && format != Format::Lines {
            return Err(Failure::usage(
                "--key-separator splits lines; use --format lines, or --key-field with ndjson",
            ));
        }
        Ok(LineRules {
            format,
            key_field: self.key_field.clone(),
            tag_field: self.tag_field.clone(),
            key_separator: self.key_separator.clone(),
        })
    }
}

/// Whether the file's name says that it holds a JSON document per line.
fn is_ndjson(path: &Path) -> bool {
    let name = path.to_string_lossy().to_ascii_lowercase();
    let stem = [".gz", ".zst"]
        .iter()
        .find_map(|end| name.strip_suffix(end))
        .unwrap_or(&name);
    [".ndjson", ".jsonl"].iter().any(|end| stem.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_json_lines() {
        for (name, expected) in [
            ("a.ndjson", true),
            ("a.jsonl.gz", true),
            ("A.NDJSON.zst", true),
            ("a.json", false),
            ("a.txt.gz", false),
            ("-", false),
        ] {
            assert_eq!(is_ndjson(Path::new(name)), expected, "{name}");
        }
    }
}
