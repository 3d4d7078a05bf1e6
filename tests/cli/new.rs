//! `weir plugin new`: projects that build, pass their own test, and run.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::json;

use crate::home::{Home, sources};

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
            builds(&project, &target);
            runs(&home, hook, &project, next.lines().last().unwrap());
        }
        std::fs::remove_dir_all(&project).unwrap();
    }
    if has_wasm {
        overflows(&home, &target);
    }
}

/// Each step takes a kibibyte of the stack.
const DESCENDS: &str = "
use std::hint::black_box;
use weir_plugin::{Columns, Config, Error, Filter, Record};

struct Plugin(usize);

impl Filter for Plugin {
    fn configure(config: &Config, _: &mut Columns) -> Result<Self, Error> {
        Ok(Self(config.require(\"kib\")?.parse()?))
    }

    fn keep(&self, _: Record<'_>) -> Result<bool, Error> {
        Ok(descend(self.0) == 0)
    }
}

fn descend(kib: usize) -> u8 {
    let taken = black_box([0; 1024]);
    if kib == 0 { 0 } else { descend(kib - 1) + black_box(&taken)[kib] }
}

weir_plugin::export! { filter: Plugin }
";

/// A stack that is full is the end of the call, and nothing of the plugin is written over.
fn overflows(home: &Home, target: &Path) {
    home.ok(&[
        "plugin", "new", "tried", "--lang", "rust", "--hook", "filter",
    ]);
    let project = home.path("tried");
    std::fs::write(project.join("src/lib.rs"), DESCENDS).unwrap();
    builds(&project, target);
    let module = project.join(format!("target/{TARGET}/release/tried.wasm"));
    let sample = project.join("sample.ndjson");
    let report = |kib: &str| {
        let config = format!("kib={kib}");
        let module = module.to_str().unwrap();
        let sample = sample.to_str().unwrap();
        let test = ["plugin", "test", module, "--hook", "filter", "--input"];
        home.json(&[&test[..], &[sample, "--config", &config]].concat())
            .remove(0)
    };
    let fits = report("200");
    assert_eq!((&fits["kept"], &fits["failed"]), (&json!(6), &json!(0)));
    let full = report("300");
    assert_eq!(full["failed"], 6, "{full}");
    let note = full["failures"][0]["note"].as_str().unwrap();
    assert!(note.contains("out of bounds memory access"), "{note}");
    std::fs::remove_dir_all(&project).unwrap();
}

/// The module is built, and put where cargo puts it unless it is told otherwise.
fn builds(project: &Path, target: &Path) {
    let build = ["build", "--release", "--target", TARGET];
    let built = cargo(project, target, &build);
    assert!(built.status.success(), "{built:?}");
    let module = project.join(format!("target/{TARGET}/release/tried.wasm"));
    std::fs::create_dir_all(module.parent().unwrap()).unwrap();
    std::fs::copy(target.join(format!("{TARGET}/release/tried.wasm")), &module).unwrap();
}

/// The command that `plugin new` printed for the component runs, and finds what it is to find.
fn runs(home: &Home, hook: &str, project: &Path, command: &str) {
    let words = command.strip_prefix("weir ").unwrap().replace('\'', "");
    let words: Vec<&str> = words.split(' ').chain(["--output", "json"]).collect();
    let done = home.command(&words).current_dir(project).output().unwrap();
    assert!(done.status.success(), "{hook}: {done:?}");
    let report: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(report["records"], 6, "{hook}: {report}");
    assert_eq!(report["failed"], 0, "{hook}: {report}");
    assert_eq!(report["hook"], hook);
    let kept = if hook == "filter" { 3 } else { 6 };
    assert_eq!(report["kept"], kept, "{hook}: {report}");
}

/// Runs it in the project, to its good end.
fn done(project: &Path, program: &str, arguments: &[&str], path: &str) {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(project)
        .env("PATH", path);
    // Bytecode files would otherwise lie among the sources.
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("PYTHONPATH", "weir/kit-py");
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {output:?}"
    );
}

/// The path of programs, with folders before it; `None`, said aloud, if one of the tools is not
/// there.
fn path_with(folders: &[PathBuf], tools: &[&str]) -> Option<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = folders.to_vec();
    folders.extend(std::env::split_paths(&path));
    let is_there = |tool: &&&str| folders.iter().any(|folder| folder.join(tool).is_file());
    let missing: Vec<_> = tools.iter().filter(|tool| !is_there(tool)).collect();
    if !missing.is_empty() {
        eprintln!("NOT RUN: the projects that need {missing:?}, which is not on this machine");
        return None;
    }
    let path = std::env::join_paths(folders).unwrap();
    Some(path.into_string().unwrap())
}

/// A new project, and the commands that come next.
fn new_project(home: &Home, lang: &str, hook: &str) -> (PathBuf, Vec<String>) {
    let next = home.ok(&["plugin", "new", "tried", "--lang", lang, "--hook", hook]);
    (
        home.path("tried"),
        next.lines().map(str::to_owned).collect(),
    )
}

#[test]
fn every_project_in_c_passes_its_own_test_and_runs() {
    let Some(path) = path_with(&[], &["make", "cc", "clang", "wasm-ld"]) else {
        return;
    };
    let home = Home::new();
    for hook in HOOKS {
        let (project, next) = new_project(&home, "c", hook);
        done(&project, "make", &["test"], &path);
        done(&project, "make", &[], &path);
        runs(&home, hook, &project, &next[2]);
        if hook == "transform" {
            let module = project.join("tried.wasm");
            let test = [
                "plugin",
                "test",
                module.to_str().unwrap(),
                "--hook",
                "project",
            ];
            let sample = project.join("sample.ndjson");
            home.weir(&[&test[..], &["--input", sample.to_str().unwrap()]].concat())
                .fails(1, "has no hook project; bind it as what it has: transform");
        }
        std::fs::remove_dir_all(&project).unwrap();
    }
}

/// The tool comes from the sample's folder, where `npm install` puts it.
#[test]
fn every_project_in_javascript_passes_its_own_test_and_runs() {
    let modules = sources().join("plugins/tag-filter-js/node_modules");
    let tools = ["node", "npm", "componentize-qjs"];
    let Some(path) = path_with(&[modules.join(".bin")], &tools) else {
        return;
    };
    let home = Home::new();
    for hook in HOOKS {
        let (project, next) = new_project(&home, "js", hook);
        std::os::unix::fs::symlink(&modules, project.join("node_modules")).unwrap();
        done(&project, "npm", &["test"], &path);
        done(&project, "npm", &["run", "build"], &path);
        runs(&home, hook, &project, &next[2]);
        std::fs::remove_dir_all(&project).unwrap();
    }
}

/// One component with several hooks, since each takes a quarter of a minute to build and compile;
/// its parts are the projects' own plugins.
#[test]
fn projects_in_python_pass_their_own_tests_and_run_together() {
    let bin = sources().join("plugins/target/venv/bin");
    let Some(path) = path_with(&[bin], &["python3", "componentize-py"]) else {
        return;
    };
    let home = Home::new();
    let together = home.path("together");
    std::fs::create_dir(&together).unwrap();
    let mut commands = Vec::new();
    for hook in HOOKS {
        let (project, next) = new_project(&home, "python", hook);
        done(&project, "python3", &["-m", "unittest"], &path);
        let part = format!("{}_part.py", hook.replace('-', "_"));
        std::fs::copy(project.join("plugin.py"), together.join(part)).unwrap();
        commands.push((hook, next[2].clone()));
        if hook == "retry-policy" {
            for file in ["sample.ndjson", "weir"] {
                std::fs::rename(project.join(file), together.join(file)).unwrap();
            }
        }
        std::fs::remove_dir_all(&project).unwrap();
    }
    let imports: Vec<_> = HOOKS.map(|hook| hook.replace('-', "_")).to_vec();
    let lines = imports.iter().map(|hook| format!("import {hook}_part\n"));
    let parts: Vec<_> = imports
        .iter()
        .map(|hook| format!("{hook}={hook}_part.Plugin"))
        .collect();
    let interfaces = [
        "Lifecycle",
        "Filter",
        "OrderingKey",
        "Router",
        "Mapper",
        "Retry",
    ];
    let interfaces = interfaces.map(|name| format!("{name} = _exports.{name}\n"));
    let component = format!(
        "import weir_component\n{}_exports = weir_component.exports({})\n{}",
        lines.collect::<String>(),
        parts.join(", "),
        interfaces.concat()
    );
    std::fs::write(together.join("component.py"), component).unwrap();
    let build = "-d weir/wit -w plugin componentize --stub-wasi -p . -p weir/kit-py component -o";
    let build: Vec<_> = build.split(' ').chain(["tried.wasm"]).collect();
    done(&together, "componentize-py", &build, &path);
    for (hook, command) in commands {
        if ["filter", "key", "transform"].contains(&hook) {
            runs(&home, hook, &together, &command);
        }
    }
}
