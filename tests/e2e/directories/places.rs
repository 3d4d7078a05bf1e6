//! Directories that are not for a broker at all: another broker's, somebody else's, and places that
//! it may not use.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use expect_test::{Expect, expect};
use weir_harness::directory::{differences, refused, tree};
use weir_harness::process::{Process, SMALL_FILES};
use weir_harness::report::say;

use super::{Copy, made};
use crate::setup;

/// The account that nobody uses for anything: the broker as somebody else.
const NOBODY: [&str; 6] = [
    "setpriv",
    "--reuid",
    "65534",
    "--regid",
    "65534",
    "--clear-groups",
];

#[tokio::test]
async fn another_brokers_directory() {
    let process = Process::start(setup().configured(SMALL_FILES));
    let refusal = refused(&setup().program, &process.data(), &[]);
    let root = process.data().display().to_string();
    expect!["the data directory DIR/data is in use by another broker; stop that one, or choose another directory (--data DIR)"].assert_eq(&refusal.message.replace(&root, "DIR/data"));
    assert_eq!(refusal.code, Some(1));
}

/// Somebody else's files are left alone, and nothing is put between them.
#[test]
fn a_foreign_directory() {
    let check = |prepare: fn(&Path), message: Expect| {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        std::fs::create_dir(&data).unwrap();
        prepare(&data);
        let before = tree(&data);
        let refusal = refused(&setup().program, &data, &[]);
        let root = directory.path().display().to_string();
        message.assert_eq(&refusal.message.replace(&root, "DIR"));
        assert_eq!(refusal.code, Some(1));
        assert_eq!(differences(&before, &tree(&data)), Vec::<PathBuf>::new());
    };
    check(
        |data| std::fs::write(data.join("letters.txt"), "dear").unwrap(),
        expect![
            "DIR/data/letters.txt is no file of a broker's data directory; choose an empty directory, or one that a broker made (--data DIR); nothing was changed"
        ],
    );
    check(
        |data| {
            std::fs::create_dir(data.join("log")).unwrap();
            std::fs::write(data.join("log/NODE"), "not ours").unwrap();
        },
        expect![
            "DIR/data/log/NODE is no file of a broker's data directory; choose an empty directory, or one that a broker made (--data DIR); nothing was changed"
        ],
    );
    check(
        |data| {
            std::fs::create_dir_all(data.join("log/wal")).unwrap();
            std::fs::write(data.join("log/wal/letters.txt"), "dear").unwrap();
        },
        expect![
            "DIR/data/log/wal/letters.txt is no file of a broker's data directory; choose an empty directory, or one that a broker made (--data DIR); nothing was changed"
        ],
    );
    check(
        |data| std::fs::write(data.join("log"), "a file in the way").unwrap(),
        expect![
            "DIR/data/log is no file of a broker's data directory; choose an empty directory, or one that a broker made (--data DIR); nothing was changed"
        ],
    );
}

/// A file in the place of the directory, and places that a broker may not use.
#[tokio::test]
async fn places_that_cannot_be_used() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let root = directory.path().display().to_string();
    let refusal = refused(&setup().program, &file, &[]);
    expect!["cannot use DIR/file: File exists (os error 17); choose another data directory (--data DIR) or correct this one"].assert_eq(&refusal.message.replace(&root, "DIR"));
    let refusal = refused(&setup().program, &file.join("data"), &[]);
    expect!["cannot use DIR/file/data: File exists (os error 17); choose another data directory (--data DIR) or correct this one"].assert_eq(&refusal.message.replace(&root, "DIR"));

    let made = made().await;
    // To root nothing is forbidden: then somebody else runs the broker.
    let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    let through = if is_root { &NOBODY[..] } else { &[] };
    if is_root && !may_run_as_nobody() {
        say("SKIPPED: this test is root, and may not run a broker as somebody else");
        return;
    }
    let check = |forbidden: &str, message: Expect| {
        let copy = Copy::of(made);
        let data = copy.data();
        let before = tree(&data);
        let path = data.join(forbidden);
        let allowed = std::fs::metadata(&path).unwrap().permissions();
        if is_root {
            std::fs::set_permissions(copy.directory.path(), mode(0o755)).unwrap();
            for name in before.keys().chain([&PathBuf::new()]) {
                std::os::unix::fs::chown(data.join(name), Some(65534), Some(65534)).unwrap();
            }
        }
        std::fs::set_permissions(&path, mode(0)).unwrap();
        let refusal = refused(&setup().program, &data, through);
        std::fs::set_permissions(&path, allowed).unwrap();
        message.assert_eq(&copy.neutral(made, &refusal.message));
        assert_eq!(refusal.code, Some(1));
        assert_eq!(differences(&before, &tree(&data)), Vec::<PathBuf>::new());
    };
    let name = |path: &Path| {
        let name = path.strip_prefix(made.directory.path()).unwrap();
        name.display().to_string()
    };
    check(
        "",
        expect![
            "cannot use DIR/data/log: Permission denied (os error 13); choose another data directory (--data DIR) or correct this one"
        ],
    );
    check(
        "lock",
        expect![
            "cannot use DIR/data/lock: Permission denied (os error 13); choose another data directory (--data DIR) or correct this one"
        ],
    );
    check(
        "log",
        expect![
            "cannot use DIR/data/log/segments: Permission denied (os error 13); check the disk and the permissions"
        ],
    );
    check(
        "log/NODE",
        expect![
            "cannot use DIR/data/log/NODE: Permission denied (os error 13); check the disk and the permissions"
        ],
    );
    check(
        &name(&made.wal),
        expect![
            "cannot use DIR/data/log/wal/FIRST.wal: Permission denied (os error 13); check the disk and the permissions"
        ],
    );
    check(
        &name(&made.segment),
        expect![
            "cannot use DIR/data/log/segments/ONE.seg: Permission denied (os error 13); check the disk and the permissions"
        ],
    );
    check(
        &name(&made.checkpoint),
        expect![
            "cannot use DIR/data/log/checkpoints/ONE.ckpt: Permission denied (os error 13); check the disk and the permissions"
        ],
    );
    check(
        &name(&made.manifest),
        expect![
            "cannot use DIR/data/log/manifest/NEWEST.manifest: Permission denied (os error 13); check the disk and the permissions"
        ],
    );
}

fn may_run_as_nobody() -> bool {
    let mut command = Command::new(NOBODY[0]);
    let command = command.args(&NOBODY[1..]).arg(setup().program);
    let output = command.arg("--version").output();
    output.is_ok_and(|output| output.status.success())
}

fn mode(bits: u32) -> std::fs::Permissions {
    std::fs::Permissions::from_mode(bits)
}
