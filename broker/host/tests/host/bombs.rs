//! Components that are small to send and large to deal with: each is refused or compiled within
//! the compiler's limits of time and memory, by a process that says so instead of breaking down.

use crate::support::{block, config, host_with, prebuilt};
use bytes::Bytes;
use std::time::{Duration, Instant};
use weir_host::{CompileError, HostConfig};

const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";
const MODULE: &[u8] = b"\0asm\x01\0\0\0";

fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![id];
    bytes.extend(leb(content.len()));
    bytes.extend_from_slice(content);
    bytes
}

/// A component of one module, whose functions have these bodies, and take and return nothing.
fn of_functions(bodies: &[Vec<u8>]) -> Vec<u8> {
    let mut declared = leb(bodies.len());
    declared.extend(std::iter::repeat_n(0, bodies.len()));
    let mut code = leb(bodies.len());
    for body in bodies {
        code.extend(leb(body.len()));
        code.extend_from_slice(body);
    }
    let parts = [
        section(1, &[1, 0x60, 0, 0]),
        section(3, &declared),
        section(5, &[1, 0, 1]),
        section(10, &code),
    ];
    let module = [MODULE, &parts.concat()].concat();
    [COMPONENT, &section(1, &module)].concat()
}

/// No locals, these instructions, the end.
fn body(instructions: &[u8]) -> Vec<u8> {
    [&[0], instructions, &[0x0b]].concat()
}

fn many_functions() -> Vec<u8> {
    of_functions(&vec![body(&[]); 300_000])
}

fn too_many_functions() -> Vec<u8> {
    of_functions(&vec![body(&[]); 1_000_001])
}

fn many_locals() -> Vec<u8> {
    let locals = [&[1][..], &leb(50_000), &[0x7e, 0x0b]].concat();
    of_functions(&vec![locals; 200])
}

fn too_many_locals() -> Vec<u8> {
    of_functions(&[[&[1][..], &leb(u32::MAX as usize), &[0x7e, 0x0b]].concat()])
}

fn deep_blocks() -> Vec<u8> {
    let deep = [[0x02, 0x40].repeat(100_000), vec![0x0b; 100_000]].concat();
    of_functions(&[body(&deep)])
}

fn wide_jumps() -> Vec<u8> {
    // i32.const 0, then a table of 60,000 targets, thirty times.
    let jump = [
        &[0x02, 0x40, 0x41, 0, 0x0e][..],
        &leb(60_000),
        &[0; 60_001],
        &[0x0b],
    ]
    .concat();
    of_functions(&[body(&jump.repeat(30))])
}

fn nested_components() -> Vec<u8> {
    let mut inner = COMPONENT.to_vec();
    for _ in 0..5_000 {
        inner = [COMPONENT, &section(4, &inner)].concat();
    }
    inner
}

/// One type that doubles with every level: 2^60 of the smallest ones.
fn doubling_types() -> Vec<u8> {
    let mut types = vec![60];
    // (tuple bool bool), then tuples of the one before.
    types.extend_from_slice(&[0x6f, 2, 0x7f, 0x7f]);
    for level in 0..59 {
        types.extend_from_slice(&[0x6f, 2, level, level]);
    }
    [COMPONENT, &section(7, &types)].concat()
}

/// A sound component with a hundred instances more of an empty module.
fn many_instances() -> Vec<u8> {
    let mut component = prebuilt("hostile/later-version").to_vec();
    let modules = modules(&component);
    component.extend(section(1, MODULE));
    let mut instances = vec![100];
    for _ in 0..100 {
        instances.extend_from_slice(&[0, modules, 0]);
    }
    component.extend(section(2, &instances));
    component
}

/// How many core modules a component has.
fn modules(component: &[u8]) -> u8 {
    let (mut rest, mut modules) = (&component[COMPONENT.len()..], 0);
    while let Some((id, after)) = rest.split_first() {
        let end = after.iter().position(|byte| byte & 0x80 == 0).unwrap();
        let digits = after[..=end].iter().rev();
        let length = digits.fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7f));
        modules += u8::from(*id == 1);
        rest = &after[end + 1 + length..];
    }
    modules
}

/// A name of a megabyte.
fn long_names() -> Vec<u8> {
    let name = vec![b'n'; 1 << 20];
    let export = [&leb(1)[..], &leb(name.len()), &name, &[0, 0]].concat();
    let parts = [
        section(1, &[1, 0x60, 0, 0]),
        section(3, &[1, 0]),
        section(7, &export),
        section(10, &[1, 2, 0, 0x0b]),
    ];
    let module = [MODULE, &parts.concat()].concat();
    [COMPONENT, &section(1, &module)].concat()
}

#[test]
fn what_is_small_to_send_and_large_to_compile_is_bounded() {
    let host = host_with(HostConfig {
        compile_cpu: Duration::from_secs(2),
        compile_memory: 512 << 20,
        ..config()
    });
    let lifecycle = "it does not export `weir:plugin/lifecycle@1.0.0`";
    let limit = "took more than";
    let bombs: [(&str, Vec<u8>, &[&str]); 10] = [
        ("many functions", many_functions(), &[lifecycle, limit]),
        ("too many functions", too_many_functions(), &["functions"]),
        ("many locals", many_locals(), &[lifecycle, limit]),
        ("too many locals", too_many_locals(), &["too many locals"]),
        ("deep blocks", deep_blocks(), &[lifecycle, limit, "nesting"]),
        ("wide jumps", wide_jumps(), &[lifecycle, limit]),
        (
            "nested components",
            nested_components(),
            &[limit, "nesting"],
        ),
        ("doubling types", doubling_types(), &["type size"]),
        (
            "many instances",
            many_instances(),
            &["needs more than a plugin gets"],
        ),
        ("long names", long_names(), &["size"]),
    ];
    for (what, component, expected) in bombs {
        let (start, bytes) = (Instant::now(), component.len());
        let error = block(host.compile(Bytes::from(component))).unwrap_err();
        let took = start.elapsed();
        println!("{what}: {bytes} bytes, {took:?}: {error}");
        assert!(took < Duration::from_secs(120), "{what}: {took:?}");
        let is_verdict = matches!(
            error,
            CompileError::Invalid { .. }
                | CompileError::Limit { .. }
                | CompileError::TooLong { .. }
        );
        let message = error.to_string();
        let is_expected = expected.iter().any(|part| message.contains(part));
        assert!(is_verdict && is_expected, "{what}: {message}");
    }
    // The compiler is there for the next.
    block(host.compile(prebuilt("tag-filter"))).unwrap();
}
