//! The native tests of the plugins in other languages, as their authors run them. Where a machine
//! has no such language, the test says so and does nothing.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails loudly, and says what it left out"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn plugins() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn is_there(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output();
    let there = there.is_ok_and(|output| output.status.success());
    if !there {
        eprintln!("not run: there is no {program} on this machine");
    }
    there
}

fn passed(output: &Output, words: &str) {
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success() && text.contains(words), "{text}");
}

#[test]
fn javascript() {
    if !is_there("node") {
        return;
    }
    for (folder, passes) in [("kit-js", "pass 7"), ("tag-filter-js", "pass 3")] {
        let mut node = Command::new("node");
        node.args(["--test", "test/"]);
        let output = node.current_dir(plugins().join(folder)).output().unwrap();
        passed(&output, passes);
    }
}

#[test]
fn python() {
    if !is_there("python3") {
        return;
    }
    for (folder, ran) in [("kit-py", "Ran 6 tests"), ("tag-filter-py", "Ran 3 tests")] {
        let mut python = Command::new("python3");
        python
            .args(["-m", "unittest"])
            .env("PYTHONPATH", plugins().join("kit-py"))
            .env("PYTHONDONTWRITEBYTECODE", "1");
        let output = python.current_dir(plugins().join(folder)).output().unwrap();
        passed(&output, ran);
    }
}

#[test]
fn c() {
    if !is_there("cc") {
        return;
    }
    let made = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let tests = [
        "kit-c/test/key.c",
        "kit-c/test/retry.c",
        "kit-c/test/route.c",
        "kit-c/test/transform.c",
        "tag-filter-c/test.c",
    ];
    for test in tests {
        let program = made.join(test.replace(['/', '.'], "-"));
        let mut cc = Command::new("cc");
        cc.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-o"])
            .arg(&program)
            .arg(plugins().join(test));
        passed(&cc.output().unwrap(), "");
        passed(
            &Command::new(&program).output().unwrap(),
            "all checks passed",
        );
    }
}
