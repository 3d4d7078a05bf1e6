//! Modules that become components, and those that do not. That the result runs is shown where a
//! host is (tests/cli).

use super::*;

/// A module with a filter, as a compiler gives it but empty, with more in it.
fn module(version: &str, more: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
            {more}
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
            (func (export "weir:plugin/lifecycle@{version}#configure")
                (param i32 i32 i32 i32 i32) (result i32) unreachable)
            (func (export "weir:plugin/filter@{version}#filter")
                (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) unreachable))"#
    );
    wat::parse_str(text).unwrap()
}

const MEMORY: &str = r#"(memory (export "memory") 1)"#;

#[test]
fn every_interface_is_text_that_can_be_read() {
    let log = r#"(import "weir:plugin/host@1.0.0" "log" (func (param i32 i32 i32)))"#;
    for more in [MEMORY.to_owned(), format!("{log} {MEMORY}")] {
        let mut text = more;
        for (interface, function, _) in INTERFACES {
            if !matches!(interface, "lifecycle" | "filter") {
                text += &format!(
                    r#"(func (export "weir:plugin/{interface}@1.0.0#{function}"))
                       (func (export "cabi_post_weir:plugin/{interface}@1.0.0#{function}"))"#
                );
            }
        }
        text += r#"(func (export "_initialize"))"#;
        let bytes = module("1.0.0", &text);
        let component = componentise(&bytes).unwrap();
        assert!(!is_module(&component));
        let found = component.windows(bytes.len()).filter(|part| *part == bytes);
        assert_eq!(found.count(), 1, "the module is in it as it is");
    }
}

#[test]
fn what_is_no_plugin_is_told_what_to_do() {
    use ComponentiseError::{Import, Missing, NoPlugin, OtherContract};
    let plain = wat::parse_str("(module)").unwrap();
    assert_eq!(componentise(&plain), Err(NoPlugin));
    for (version, known) in [
        ("1.0.0", true),
        ("1.0.12", true),
        ("1.1.0", false),
        ("2.0.0", false),
        ("1.0.", false),
        ("1.0.0 x", false),
    ] {
        let result = componentise(&module(version, MEMORY));
        let other = Err(OtherContract(version.to_owned()));
        assert_eq!(result.is_ok(), known, "{version}");
        assert!(known || result == other, "{version}");
    }
    assert_eq!(componentise(&module("1.0.0", "")), Err(Missing("memory")));
    let wasi = r#"(import "wasi_snapshot_preview1" "fd_write" (func))"#;
    let wasi = componentise(&module("1.0.0", &format!("{wasi} {MEMORY}")));
    let expected = Import {
        module: "wasi_snapshot_preview1".to_owned(),
        name: "fd_write".to_owned(),
    };
    assert_eq!(wasi, Err(expected));
}
