//! What is written, without writing it.

use std::collections::BTreeSet;

use super::*;

/// Names of files below a folder of the checkout.
fn files_of(folder: &Path, top: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_of(&path, top, found);
        } else {
            found.insert(path.strip_prefix(top).unwrap().display().to_string());
        }
    }
}

#[test]
fn a_project_carries_the_whole_kit() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap();
    let project = Project::new("rust", Hook::Filter, "only", "only").unwrap();
    for (folder, place) in [("plugins/kit", "weir/plugins/kit"), ("wit", "weir/wit")] {
        let folder = top.join(folder);
        let mut names = BTreeSet::new();
        files_of(&folder, &folder, &mut names);
        assert!(!names.is_empty());
        for name in names {
            let carried = project.files.get(&format!("{place}/{name}"));
            let carried = carried.unwrap_or_else(|| panic!("{place}/{name} is missing"));
            if name != "Cargo.toml" {
                assert_eq!(*carried, fs::read_to_string(folder.join(&name)).unwrap());
            }
        }
    }
    let manifest = &project.files["weir/plugins/kit/Cargo.toml"];
    assert!(!manifest.contains("workspace"), "{manifest}");
}

#[test]
fn every_hook_has_its_files_and_no_placeholder_is_left() {
    for lang in languages() {
        let mut hooks = 0;
        for hook in Hook::ALL {
            let Ok(project) = Project::new(lang, hook, "my-plugin", "some/where") else {
                continue;
            };
            hooks += 1;
            for (path, text) in &project.files {
                let own = !path.starts_with("weir/");
                assert!(!path.contains("{{"), "{lang} {hook}: {path}");
                assert!(!own || !text.contains("{{"), "{lang} {hook}: {path}");
            }
            assert_eq!(project.next.len(), 3, "{lang} {hook}");
            let next = project.next.join("\n");
            assert!(!next.contains("{{"), "{lang} {hook}: {next}");
            assert!(next.contains("weir plugin test"), "{lang} {hook}: {next}");
            assert!(next.contains("some/where"), "{lang} {hook}: {next}");
        }
        assert!(hooks >= 3, "{lang} has templates for {hooks} hooks");
    }
    assert!(languages().contains("rust"));
}

#[test]
fn names_that_every_language_takes() {
    for good in ["a", "my-filter", "x2"] {
        assert_eq!(name(good).as_deref(), Ok(good));
    }
    for bad in ["", "2x", "My", "a_b", "a b", "../a", "a-", "-a"] {
        assert!(name(bad).is_err(), "{bad}");
    }
}

/// The native tests of the examples in other languages than Rust, where those are installed: what
/// `cargo test` of a Rust project is, they are to these. Those of Rust run in the plugins' workspace.
#[test]
fn examples_pass_their_own_tests() {
    let cc = "cc -std=c11 -Wall -Wextra -Wno-unused-function -Werror -o native test.c && ./native";
    let commands = [
        ("c", "cc", cc),
        ("js", "node", "node --test test/"),
        (
            "python",
            "python3",
            "PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=weir/kit-py python3 -m unittest",
        ),
    ];
    for (lang, tool, command) in commands {
        let found = std::process::Command::new(tool).arg("--version").output();
        if !found.is_ok_and(|output| output.status.success()) {
            eprintln!("not run: there is no {tool} for the examples in {lang}");
            continue;
        }
        for hook in Hook::ALL {
            let folder = tempfile::tempdir().unwrap();
            let project = Project::new(lang, hook, "my-plugin", "my-plugin").unwrap();
            for (path, text) in &project.files {
                write(&folder.path().join(path), text).unwrap();
            }
            let mut shell = std::process::Command::new("sh");
            let output = shell.args(["-c", command]).current_dir(&folder).output();
            let output = output.unwrap();
            assert!(
                output.status.success(),
                "{lang} {hook}: {}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
}
