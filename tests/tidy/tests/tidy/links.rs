//! Relative links in Markdown files lead to files that are there.

use std::path::Path;

use weir_tidy::{expect_none, top, tracked};

/// The targets of `[…](target)` outside of code, without what follows `#`.
fn targets(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        // Every other piece between backticks is code.
        for piece in line.split('`').step_by(2) {
            for rest in piece.split("](").skip(1) {
                found.extend(rest.split([')', '#', ' ']).next());
            }
        }
        // A link whose text is code: `[`name`](target)` is cut at the second backtick.
        for rest in line.split("`](").skip(1) {
            found.extend(rest.split([')', '#', ' ']).next());
        }
    }
    found.retain(|target| !target.is_empty() && !target.contains("://"));
    found
}

#[test]
fn targets_are_found() {
    let text = "a [b](c.md#d) `[x](y)` [e](https://f.g) [`h`](i/j.md)\n```\n[k](l)\n```\n[m](#n)";
    let mut found = targets(text);
    found.sort_unstable();
    found.dedup();
    assert_eq!(found, ["c.md", "i/j.md"]);
}

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    for source in tracked(".md") {
        let folder = top().join(&source.path);
        let folder = folder.parent().unwrap_or(Path::new("."));
        for target in targets(&source.text) {
            if !folder.join(target).exists() {
                broken.push(format!("{}: {target}", source.path));
            }
        }
    }
    expect_none("a relative link leads to a file", &broken);
}
