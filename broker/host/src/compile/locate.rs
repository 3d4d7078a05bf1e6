//! Finds a compiler where none was configured. The one file of this crate that reads the
//! environment. Never the running program itself: in a test harness that is the harness.

use crate::CompilerCommand;
use std::env;
use std::path::{Path, PathBuf};

/// The hidden verb of `weir` whose body is [`crate::compiler_main`].
const VERB: &str = "compile-component";

/// `WEIR_COMPILER`, else `weir` on `PATH`.
pub(super) fn compiler() -> Option<CompilerCommand> {
    let program = match env::var_os("WEIR_COMPILER") {
        Some(program) if !program.is_empty() => PathBuf::from(program),
        _ => PathBuf::from("weir"),
    };
    let arguments = vec![VERB.into()];
    Some(CompilerCommand {
        program: resolve(&program)?,
        arguments,
    })
}

/// An absolute path: a bare name is looked for on `PATH`, as a shell does. The child runs in
/// another directory and without an environment, so it could not look for itself.
pub(super) fn resolve(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return std::path::absolute(program).ok();
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}
