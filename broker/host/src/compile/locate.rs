//! Finds a compiler where none was configured. The one file of this crate that reads the
//! environment. Never the running program itself: in a test harness that is the harness.

use crate::CompilerCommand;
use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

/// The hidden verb of `weir` whose body is [`crate::compiler_main`].
const VERB: &str = "compile-component";

/// `WEIR_COMPILER`, else `weir` on `PATH`.
pub(super) fn compiler() -> Option<CompilerCommand> {
    let program = match env::var_os("WEIR_COMPILER") {
        Some(program) if !program.is_empty() => PathBuf::from(program),
        _ => on_path(env::var_os("PATH")?)?,
    };
    Some(CompilerCommand {
        program,
        arguments: vec![VERB.into()],
    })
}

fn on_path(path: OsString) -> Option<PathBuf> {
    env::split_paths(&path)
        .map(|folder| folder.join("weir"))
        .find(|file| file.is_file())
}
