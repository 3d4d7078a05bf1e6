//! The one file that reads the environment.

use std::io::IsTerminal;
use std::path::PathBuf;

/// What the environment says about connecting.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `WEIR_BROKER`: the address.
    pub broker: Option<String>,
    /// `WEIR_CA`: a file with the certificates to trust.
    pub ca: Option<PathBuf>,
    /// `WEIR_TOKEN`: the token itself.
    pub token: Option<String>,
    /// Where `contexts.toml` lies; none without `XDG_CONFIG_HOME` and `HOME`.
    pub contexts: Option<PathBuf>,
}

impl Environment {
    /// Reads it; an empty variable counts as unset.
    pub fn read() -> Self {
        let config = variable("XDG_CONFIG_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".config")));
        Self {
            broker: variable("WEIR_BROKER"),
            ca: variable("WEIR_CA").map(PathBuf::from),
            token: variable("WEIR_TOKEN"),
            contexts: config.map(|config| config.join("weir").join("contexts.toml")),
        }
    }
}

/// Whether colour suits standard error.
pub fn colour_on_stderr() -> bool {
    std::io::stderr().is_terminal() && variable("NO_COLOR").is_none()
}

/// Whether a person watches standard error, so that a progress bar makes sense.
pub fn progress() -> bool {
    std::io::stderr().is_terminal()
}

/// Whether a person can be asked.
pub fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// The width of the terminal that standard output goes to.
pub fn width() -> Option<usize> {
    rustix::termios::tcgetwinsize(std::io::stdout())
        .ok()
        .map(|size| usize::from(size.ws_col))
        .filter(|&columns| columns > 0)
}

/// The filter for log lines, in the syntax of `tracing`'s `EnvFilter`.
pub fn log_filter() -> Option<String> {
    variable("WEIR_LOG")
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A switch for tests of the broker: `WEIR_VFS`, `WEIR_PLANT`, `WEIR_DROP_REPLIES`. Release
/// builds do not look.
pub fn test_switch(name: &str) -> Option<String> {
    if cfg!(debug_assertions) {
        variable(name)
    } else {
        None
    }
}

/// The arguments of this process, without its own name.
pub fn arguments() -> Vec<String> {
    let arguments = std::env::args_os().skip(1);
    arguments
        .map(|word| word.to_string_lossy().into_owned())
        .collect()
}
