//! What there is to know about a core module from outside: its imports and exports. And a
//! component with another module in its middle.

/// The bytes that a core module begins with, and those of a component.
pub const MAGIC: &[u8] = b"\0asm\x01\0\0\0";
const COMPONENT_MAGIC: &[u8] = b"\0asm\x0d\0\x01\0";
/// Sections of a module.
const IMPORTS: u8 = 2;
const EXPORTS: u8 = 7;
/// The section of a component that holds a core module.
const CORE_MODULE: u8 = 1;
/// What an import of a function is marked with.
const FUNCTION: u8 = 0;
/// Bytes of a 32-bit number at most, seven bits each.
const NUMBER_BYTES_MAX: u32 = 5;

/// Why bytes are no module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// It does not begin as it should.
    #[error("it does not begin with \\0asm and a version")]
    Magic,
    /// It ends in the midst of something.
    #[error("it ends in the midst of something")]
    Cut,
    /// A number is too large.
    #[error("a number in it has more than 32 bits")]
    Number,
    /// A name is no text.
    #[error("a name in it is not UTF-8")]
    Name,
    /// There is none.
    #[error("there is no core module in it")]
    NoModule,
}

/// The outside of a core module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Module<'a> {
    /// Module and name of each import.
    pub imports: Vec<(&'a str, &'a str)>,
    /// The names of its exports.
    pub exports: Vec<&'a str>,
}

impl<'a> Module<'a> {
    /// Reads it.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes.strip_prefix(MAGIC).ok_or(Malformed::Magic)?);
        let mut module = Self::default();
        while let Some(Section { id, content, .. }) = reader.section()? {
            match id {
                IMPORTS => module.imports = imports(content)?,
                EXPORTS => module.exports = exports(content)?,
                _ => {}
            }
        }
        Ok(module)
    }

    /// Whether something of that name is exported.
    pub fn exports(&self, name: &str) -> bool {
        self.exports.contains(&name)
    }
}

/// All imports, up to and with the first that is no function: no plugin has one.
fn imports(content: &[u8]) -> Result<Vec<(&str, &str)>, Malformed> {
    let mut reader = Reader(content);
    let mut imports = Vec::new();
    for _ in 0..reader.number()? {
        imports.push((reader.name()?, reader.name()?));
        if reader.byte()? != FUNCTION {
            break;
        }
        reader.number()?;
    }
    Ok(imports)
}

fn exports(content: &[u8]) -> Result<Vec<&str>, Malformed> {
    let mut reader = Reader(content);
    let mut exports = Vec::new();
    for _ in 0..reader.number()? {
        exports.push(reader.name()?);
        reader.byte()?;
        reader.number()?;
    }
    Ok(exports)
}

/// `component` with `module` in the place of its first core module.
pub fn replace_first_module(component: &[u8], module: &[u8]) -> Result<Vec<u8>, Malformed> {
    let sections = component.strip_prefix(COMPONENT_MAGIC);
    let mut reader = Reader(sections.ok_or(Malformed::Magic)?);
    let mut out = COMPONENT_MAGIC.to_vec();
    let mut replaced = false;
    while let Some(Section { id, whole, .. }) = reader.section()? {
        if id == CORE_MODULE && !replaced {
            let length = u32::try_from(module.len()).map_err(|_| Malformed::Number)?;
            out.push(CORE_MODULE);
            put_number(&mut out, length);
            out.extend_from_slice(module);
            replaced = true;
        } else {
            out.extend_from_slice(whole);
        }
    }
    if replaced {
        Ok(out)
    } else {
        Err(Malformed::NoModule)
    }
}

fn put_number(out: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// A section of a module.
struct Section<'a> {
    id: u8,
    content: &'a [u8],
    /// With the id and the length before the content.
    whole: &'a [u8],
}

/// Bytes that are read from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The next section; none at the end.
    fn section(&mut self) -> Result<Option<Section<'a>>, Malformed> {
        let before = self.0;
        if before.is_empty() {
            return Ok(None);
        }
        let id = self.byte()?;
        let length = self.number()?;
        let content = self.take(length)?;
        let (whole, _) = before
            .split_at_checked(before.len() - self.0.len())
            .ok_or(Malformed::Cut)?;
        Ok(Some(Section { id, content, whole }))
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        let (byte, rest) = self.0.split_first().ok_or(Malformed::Cut)?;
        self.0 = rest;
        Ok(*byte)
    }

    fn take(&mut self, count: u32) -> Result<&'a [u8], Malformed> {
        let taken = self.0.split_at_checked(count as usize);
        let (taken, rest) = taken.ok_or(Malformed::Cut)?;
        self.0 = rest;
        Ok(taken)
    }

    /// An unsigned number, seven bits a byte, the lowest first.
    fn number(&mut self) -> Result<u32, Malformed> {
        let mut number = 0_u64;
        for place in 0..NUMBER_BYTES_MAX {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                return u32::try_from(number).map_err(|_| Malformed::Number);
            }
        }
        Err(Malformed::Number)
    }

    fn name(&mut self) -> Result<&'a str, Malformed> {
        let length = self.number()?;
        std::str::from_utf8(self.take(length)?).map_err(|_| Malformed::Name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outside_of_a_module() {
        let bytes = wat::parse_str(
            r#"(module
                (import "a" "b" (func))
                (memory (export "memory") 1)
                (func (export "f") i32.const 0 drop))"#,
        );
        let bytes = bytes.unwrap();
        let module = Module::parse(&bytes).unwrap();
        assert_eq!(module.imports, [("a", "b")]);
        assert_eq!(module.exports, ["memory", "f"]);
        for cut in MAGIC.len() + 1..bytes.len() {
            // A cut between sections is not seen here; the compiler sees it.
            if let Err(error) = Module::parse(&bytes[..cut]) {
                assert_eq!(error, Malformed::Cut, "{cut}");
            }
        }
        assert_eq!(Module::parse(b"\0asm"), Err(Malformed::Magic));
        let huge = [MAGIC, &[1, 0xff, 0xff, 0xff, 0xff, 0x7f]].concat();
        assert_eq!(Module::parse(&huge), Err(Malformed::Number));
        let lying = [MAGIC, &[EXPORTS, 6, 0xff, 0xff, 0xff, 0xff, 0x0f, 0]].concat();
        assert_eq!(Module::parse(&lying), Err(Malformed::Cut));
    }

    #[test]
    fn a_module_takes_the_place_of_the_first() {
        let text = "(component (core module (func)) (core module))";
        let component = wat::parse_str(text).unwrap();
        let module = wat::parse_str("(module (memory 1))").unwrap();
        let replaced = replace_first_module(&component, &module).unwrap();
        let expected = "(component (core module (memory 1)) (core module))";
        assert_eq!(replaced, wat::parse_str(expected).unwrap());
        let none = wat::parse_str("(component)").unwrap();
        assert_eq!(
            replace_first_module(&none, &module),
            Err(Malformed::NoModule)
        );
    }
}
