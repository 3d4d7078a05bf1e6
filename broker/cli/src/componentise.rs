//! Makes a component of the core module that a compiler gives, so that authors need no tool for
//! it: `cargo build --target wasm32-unknown-unknown` is enough.
//!
//! wit-component does this for any world, and brings a second parser, encoder and resolver of
//! WebAssembly with it. Here there is one contract: what goes around a module is the text in
//! `componentise/`, chosen by what the module exports. Nothing has to be believed of the module:
//! the compiler checks the component as it checks every other.

mod module;

use module::{Malformed, Module};

/// The contract that the text is written for; modules may name any patch version of it.
const CONTRACT: &str = "1.0.";
const HOST: &str = "weir:plugin/host@";
const LIFECYCLE: &str = "weir:plugin/lifecycle@";
const LOG: &str = "log";

const FRAME: &str = include_str!("componentise/frame.wat");
const BATCH: &str = include_str!("componentise/batch.wat");
const LOG_FIRST: &str = include_str!("componentise/log.wat");
const LOG_THEN: &str = include_str!("componentise/fill.wat");
const START: &str = include_str!("componentise/start.wat");
const PLAIN: &str = "(core instance $main (instantiate $main))";

/// Interface, function, and what they are in text.
const INTERFACES: [(&str, &str, &str); 6] = [
    (
        "lifecycle",
        "configure",
        include_str!("componentise/lifecycle.wat"),
    ),
    ("filter", "filter", include_str!("componentise/filter.wat")),
    (
        "ordering-key",
        "keys",
        include_str!("componentise/ordering-key.wat"),
    ),
    ("router", "route", include_str!("componentise/router.wat")),
    ("mapper", "apply", include_str!("componentise/mapper.wat")),
    ("retry", "decide", include_str!("componentise/retry.wat")),
];

/// Why a module cannot become a plugin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ComponentiseError {
    /// It is not what its first bytes say.
    #[error("the core module is malformed: {0}; build it again")]
    Malformed(#[from] Malformed),
    /// It was not written for Weir.
    #[error(
        "the file is a core module without the exports of a Weir plugin; write it with the kit \
         (weir plugin new makes a project that has it), or make a component of it with its own \
         tools"
    )]
    NoPlugin,
    /// It keeps another contract.
    #[error(
        "the core module was built for the contract weir:plugin@{0}, and this weir knows 1.0; \
         build it with the kit of this version (weir plugin new), or take a newer weir"
    )]
    OtherContract(String),
    /// It needs what no plugin gets.
    #[error(
        "the core module imports {module} {name}, which no plugin gets; build it for \
         wasm32-unknown-unknown, without WASI"
    )]
    Import {
        /// Where from.
        module: String,
        /// What.
        name: String,
    },
    /// The host could not call it.
    #[error("the core module does not export {0}; build it with the kit, and do not strip exports")]
    Missing(&'static str),
    /// The text around it is wrong, which a test would have found.
    #[error("the component cannot be written: {0}")]
    Text(String),
}

/// Whether the bytes are a core module, and no component.
pub fn is_module(bytes: &[u8]) -> bool {
    bytes.starts_with(module::MAGIC)
}

/// The component around a core module.
pub fn componentise(bytes: &[u8]) -> Result<Vec<u8>, ComponentiseError> {
    let module = Module::parse(bytes)?;
    let version = contract(&module)?;
    let logs = check_imports(&module, version)?;
    for needed in ["memory", "cabi_realloc"] {
        if !module.exports(needed) {
            return Err(ComponentiseError::Missing(needed));
        }
    }
    let text = text(&module, version, logs);
    let shell = wat::parse_str(text);
    let shell = shell.map_err(|error| ComponentiseError::Text(error.to_string()))?;
    module::replace_first_module(&shell, bytes)
        .map_err(|error| ComponentiseError::Text(error.to_string()))
}

/// The version of the contract that the module names.
fn contract<'a>(module: &Module<'a>) -> Result<&'a str, ComponentiseError> {
    let mut configures = module.exports.iter().filter_map(|name| {
        let rest = name.strip_prefix(LIFECYCLE)?;
        rest.strip_suffix("#configure")
    });
    let version = configures.next().ok_or(ComponentiseError::NoPlugin)?;
    let patch = version.strip_prefix(CONTRACT).unwrap_or_default();
    // It becomes part of a text, so it has to be a number and nothing else.
    if patch.is_empty() || !patch.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ComponentiseError::OtherContract(
            version.escape_default().to_string(),
        ));
    }
    Ok(version)
}

/// Whether it imports `log`; nothing else is there to be imported.
fn check_imports(module: &Module<'_>, version: &str) -> Result<bool, ComponentiseError> {
    for (from, name) in &module.imports {
        if from.strip_prefix(HOST) != Some(version) || *name != LOG {
            return Err(ComponentiseError::Import {
                module: from.escape_default().to_string(),
                name: name.escape_default().to_string(),
            });
        }
    }
    Ok(!module.imports.is_empty())
}

fn text(module: &Module<'_>, version: &str, logs: bool) -> String {
    let mut hooks = String::new();
    for (interface, function, text) in INTERFACES {
        let export = format!("weir:plugin/{interface}@{version}#{function}");
        if module.exports(&export) {
            let lift = lift(module, &export, function);
            hooks.push_str(&text.replace("{{lift}}", &lift).replace("{{batch}}", BATCH));
        }
    }
    let start = if module.exports("_initialize") {
        START
    } else {
        ""
    };
    FRAME
        .replace("{{instance}}", if logs { LOG_FIRST } else { PLAIN })
        .replace("{{log}}", if logs { LOG_THEN } else { "" })
        .replace("{{start}}", start)
        .replace("{{hooks}}", &hooks)
        .replace("{{version}}", version)
}

/// Makes a function of the component out of one of the module.
fn lift(module: &Module<'_>, export: &str, function: &str) -> String {
    let after = format!("cabi_post_{export}");
    let (alias, option) = if module.exports(&after) {
        (
            format!("(alias core export $main \"{after}\" (core func $after-{function}))"),
            format!("(post-return $after-{function})"),
        )
    } else {
        (String::new(), String::new())
    };
    format!(
        "(alias core export $main \"{export}\" (core func $core-{function})) {alias}
         (func ${function} (type ${function}-type) (canon lift (core func $core-{function})
           (memory $memory) (realloc $realloc) string-encoding=utf8 {option}))"
    )
}

#[cfg(test)]
mod tests;
