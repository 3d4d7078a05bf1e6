//! A component that takes very long to compile, for tests of the host and of the broker.

use bytes::Bytes;

/// A core module in a component, with a function so long that compiling it takes very long.
pub fn bomb() -> Bytes {
    let mut body = Vec::new();
    for n in 0..150_000u32 {
        // local.get 0, i32.load8_u, br_if 0 out of a block: a new basic block every time.
        let from = (n % 100) as u8;
        body.extend_from_slice(&[0x02, 0x40, 0x20, from, 0x2d, 0, 0, 0x0d, 0, 0x20, from]);
        body.extend_from_slice(&[0x41, 1, 0x6a, 0x21, ((n * 7) % 100) as u8, 0x0b]);
    }
    let mut function = vec![1, 100, 0x7f];
    function.extend_from_slice(&body);
    function.push(0x0b);
    let mut code = vec![1];
    code.extend(leb(function.len()));
    code.extend(function);
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    let sections: [(u8, &[u8]); 4] = [
        (1, &[1, 0x60, 0, 0]),
        (3, &[1, 0]),
        (5, &[1, 0, 1]),
        (10, &code),
    ];
    for (id, content) in sections {
        module.push(id);
        module.extend(leb(content.len()));
        module.extend_from_slice(content);
    }
    let mut component = b"\0asm\x0d\0\x01\0".to_vec();
    component.push(1);
    component.extend(leb(module.len()));
    component.extend(module);
    Bytes::from(component)
}

fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}
