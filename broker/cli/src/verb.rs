//! The verbs, one per file.

use std::process::ExitCode;

use crate::exit::Failure;
use crate::runtime;

mod bench;
mod completions;
mod consume;
mod context;
mod demo;
mod log;
mod plugin;
mod produce;
mod serve;
mod status;
mod topic;

pub use plugin::setting;

/// What `weir` can do.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Run a broker
    Serve(serve::ServeArgs),
    /// See the whole job done on real data, by a broker of its own
    Demo(demo::DemoArgs),
    /// Make, list, describe, change, truncate and delete topics
    #[command(subcommand)]
    Topic(topic::TopicVerb),
    /// Send records from a file or a pipe
    Produce(produce::ProduceArgs),
    /// Print records
    Consume(consume::ConsumeArgs),
    /// Upload plugins and bind them to topics
    #[command(subcommand)]
    Plugin(plugin::PluginVerb),
    /// Look at, check or empty a data directory that no broker has open
    #[command(subcommand)]
    Log(log::LogVerb),
    /// Measure a broker, with the limits of the machine beside it
    #[command(subcommand)]
    Bench(bench::BenchVerb),
    /// Manage contexts: brokers by name
    #[command(subcommand)]
    Context(context::ContextVerb),
    /// Show how the broker is
    Status(status::StatusArgs),
    /// Print completions for a shell
    Completions(completions::CompletionsArgs),
    /// Compile a component from standard input: what the broker runs as its child process
    #[command(name = serve::COMPILER_VERB, hide = true)]
    Compile,
}

impl Verb {
    /// Does it.
    pub fn run(self, verbose: bool) -> Result<ExitCode, Failure> {
        // These two decide themselves what they log.
        if !matches!(self, Self::Serve(_) | Self::Compile) {
            runtime::log(verbose);
        }
        let done = match self {
            Self::Serve(args) => serve::run(args, verbose),
            // Its exit codes are between it and the broker: they tell a component that is no
            // plugin from a compiler that broke down.
            Self::Compile => return Ok(weir_host::compiler_main()),
            Self::Demo(args) => runtime::run(demo::run(args)),
            Self::Topic(verb) => runtime::run(topic::run(verb)),
            Self::Produce(args) => produce::run(args),
            Self::Consume(args) => runtime::run(consume::run(args)),
            Self::Plugin(verb) => runtime::run(plugin::run(verb)),
            Self::Log(verb) => runtime::run_uninterrupted(log::run(verb)),
            Self::Bench(verb) => runtime::run(bench::run(verb)),
            Self::Context(verb) => context::run(verb),
            Self::Status(args) => runtime::run(status::run(args)),
            Self::Completions(args) => completions::run(&args),
        };
        done.map(|()| ExitCode::SUCCESS)
    }
}
