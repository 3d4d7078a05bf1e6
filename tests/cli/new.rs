//! `weir plugin new`: projects that build, pass their own test, and run.

use std::path::Path;
use std::process::{Command, Output};

use crate::home::Home;

const HOOKS: [&str; 6] = [
    "filter",
    "key",
    "route",
    "transform",
    "project",
    "retry-policy",
];
const TARGET: &str = "wasm32-unknown-unknown";

/// Cargo of the machine, in a project, with what it has downloaded already.
fn cargo(project: &Path, target: &Path, arguments: &[&str]) -> Output {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    Command::new(cargo)
        .args(arguments)
        .arg("--offline")
        .current_dir(project)
        .env("CARGO_TARGET_DIR", target)
        .env_remove("RUSTFLAGS")
        .output()
        .unwrap()
}

fn has_wasm_target() -> bool {
    let rustc = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .output();
    let folder = rustc.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    folder.is_ok_and(|folder| Path::new(&folder).is_dir())
}

#[test]
fn a_project_is_written_once() {
    let home = Home::new();
    let new = [
        "plugin",
        "new",
        "late-flights",
        "--lang",
        "rust",
        "--hook",
        "filter",
    ];
    let done = home.weir(&new).expect(0);
    assert_eq!(done.stdout.lines().count(), 3, "{done:?}");
    for command in ["cargo test", "cargo build", "weir plugin test"] {
        assert!(done.stdout.contains(command), "{done:?}");
    }
    let project = home.path("late-flights");
    let library = std::fs::read_to_string(project.join("src/lib.rs")).unwrap();
    assert!(library.contains("late-flights"), "{library}");
    assert!(project.join("weir/plugins/kit/src/lib.rs").is_file());
    assert!(project.join("weir/wit/weir.wit").is_file());

    std::fs::write(project.join("src/lib.rs"), "mine").unwrap();
    home.weir(&new).fails(1, "late-flights is there already");
    let kept = std::fs::read_to_string(project.join("src/lib.rs")).unwrap();
    assert_eq!(kept, "mine");
    let elsewhere = [&new[..], &["--dir", "some/where"]].concat();
    let done = home.weir(&elsewhere).expect(0);
    assert!(done.stdout.starts_with("cd some/where &&"), "{done:?}");
    home.weir(&["plugin", "new", "x", "--lang", "cobol", "--hook", "filter"])
        .fails(2, "rust");
    home.weir(&[
        "plugin", "new", "../x", "--lang", "rust", "--hook", "filter",
    ])
    .fails(2, "lower-case letters");
    home.weir(&["plugin", "new", "x", "--lang", "rust", "--hook", "sort"])
        .fails(2, "not one of");
}

/// Needs what the plugins of this repository need; where that was never downloaded, it says so.
#[test]
fn every_project_passes_its_own_test_and_runs() {
    let home = Home::new();
    let target = home.path("target");
    let has_wasm = has_wasm_target();
    if !has_wasm {
        eprintln!("not run: the builds for {TARGET}, which is not installed");
    }
    for hook in HOOKS {
        // Always in the same folder: so the kit is compiled once.
        let new = ["plugin", "new", "tried", "--lang", "rust", "--hook", hook];
        let next = home.ok(&new);
        let project = home.path("tried");
        let resolved = cargo(&project, &target, &["generate-lockfile"]);
        if !resolved.status.success() {
            eprintln!("not run: the kit's dependencies are not on this machine: {resolved:?}");
            return;
        }
        let tested = cargo(&project, &target, &["test"]);
        let said = String::from_utf8_lossy(&tested.stdout);
        assert!(tested.status.success(), "{hook}: {tested:?}");
        assert!(said.contains("test result: ok. 2 passed"), "{hook}: {said}");
        if has_wasm {
            builds_and_runs(&home, hook, &target, next.lines().last().unwrap());
        }
        std::fs::remove_dir_all(&project).unwrap();
    }
}

/// The module is built, and the command that `plugin new` printed for it runs.
fn builds_and_runs(home: &Home, hook: &str, target: &Path, command: &str) {
    let project = home.path("tried");
    let build = ["build", "--release", "--target", TARGET];
    let built = cargo(&project, target, &build);
    assert!(built.status.success(), "{hook}: {built:?}");
    // Where cargo puts it unless it is told otherwise, as this test did.
    let module = project.join(format!("target/{TARGET}/release/tried.wasm"));
    std::fs::create_dir_all(module.parent().unwrap()).unwrap();
    std::fs::copy(target.join(format!("{TARGET}/release/tried.wasm")), &module).unwrap();
    let words = command.strip_prefix("weir ").unwrap().replace('\'', "");
    let words: Vec<&str> = words.split(' ').chain(["--output", "json"]).collect();
    let done = home.command(&words).current_dir(&project).output().unwrap();
    assert!(done.status.success(), "{hook}: {done:?}");
    let report: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(report["records"], 6, "{hook}: {report}");
    assert_eq!(report["failed"], 0, "{hook}: {report}");
    assert_eq!(report["hook"], hook);
    let kept = if hook == "filter" { 3 } else { 6 };
    assert_eq!(report["kept"], kept, "{hook}: {report}");
}
