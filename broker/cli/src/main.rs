//! `weir`: the broker and its clients in one binary. Every verb has its file under `verb/`.

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser};

mod address;
mod ask;
mod bar;
mod componentise;
mod connect;
mod context;
mod embedded;
mod environment;
mod exit;
mod failure;
mod input;
mod local_context;
mod output;
mod record;
mod runtime;
mod size;
mod time;
mod verb;

use exit::{Exit, Failure};

/// The system's allocator keeps more and more of the large buffers that come and go with every
/// batch; with this one memory stays flat (docs/benchmarks.md has both).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A QUIC message broker with durable partitioned logs and sandboxed user plugins.
#[derive(Debug, Parser)]
#[command(name = "weir", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "Examples:
  weir serve                                    # a broker, and the context `local` for it
  echo hello | weir produce greetings           # in another terminal, once the topic is made

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 broker not reachable, 4 not authorised,
130 interrupted.")]
struct Cli {
    /// Show causes of errors and what happens underneath
    // Behind the options of the verb itself.
    #[arg(short, long, global = true, display_order = 900)]
    verbose: bool,
    #[command(subcommand)]
    verb: verb::Verb,
}

fn main() -> ExitCode {
    let cli = read().unwrap_or_else(|error| error.exit());
    match cli.verb.run(cli.verbose) {
        Ok(code) => code,
        Err(failure) => {
            report(&failure, cli.verbose);
            ExitCode::from(failure.exit() as u8)
        }
    }
}

/// Reads the command line; an error that only a verb's own reading shows has the verb's usage.
fn read() -> Result<Cli, clap::Error> {
    let mut command = Cli::command();
    // Gives the verbs their whole names.
    command.build();
    let matches = command.try_get_matches_from_mut(std::env::args_os())?;
    Cli::from_arg_matches(&matches).map_err(|error| {
        let (mut command, mut matches) = (&mut command, &matches);
        while let Some((name, inner)) = matches.subcommand()
            && command.find_subcommand(name).is_some()
        {
            command = command
                .find_subcommand_mut(name)
                .expect("it was found just now");
            matches = inner;
        }
        error.format(command)
    })
}

fn report(failure: &Failure, verbose: bool) {
    let message = failure.to_string();
    if failure.exit() == Exit::OutputClosed || message.is_empty() {
        return;
    }
    let (red, plain) = if environment::colour_on_stderr() {
        ("\x1b[1;31m", "\x1b[0m")
    } else {
        ("", "")
    };
    let mut text = format!("{red}error:{plain} {}\n", output::shown(&message));
    if verbose {
        for cause in failure.causes() {
            text.push_str("  because: ");
            text.push_str(&output::shown(cause));
            text.push('\n');
        }
    }
    // Nobody is left to tell if standard error is closed.
    std::io::stderr().write_all(text.as_bytes()).ok();
}
