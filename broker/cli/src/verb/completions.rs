//! `weir completions`: a script that teaches a shell the verbs and flags.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::exit::Failure;
use crate::output;

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  weir completions bash > ~/.local/share/bash-completion/completions/weir
  weir completions fish | source")]
pub struct CompletionsArgs {
    /// For which shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Prints the script.
pub fn run(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut crate::Cli::command(), "weir", &mut script);
    output::print(&String::from_utf8_lossy(&script))
}
