//! The command line as a user meets it: the real binary, its exit codes, its two outputs.

#[cfg(test)]
#[path = "cli/bench.rs"]
mod bench;
#[cfg(test)]
#[path = "cli/broker.rs"]
mod broker;
#[cfg(test)]
#[path = "cli/contexts.rs"]
mod contexts;
#[cfg(test)]
#[path = "cli/home.rs"]
mod home;
#[cfg(test)]
#[path = "cli/lab.rs"]
mod lab;
#[cfg(test)]
#[path = "cli/log.rs"]
mod log;
#[cfg(test)]
#[path = "cli/logs.rs"]
mod logs;
#[cfg(test)]
#[path = "cli/new.rs"]
mod new;
#[cfg(test)]
#[path = "cli/plugins.rs"]
mod plugins;
#[cfg(test)]
#[path = "cli/topics.rs"]
mod topics;
#[cfg(test)]
#[path = "cli/troubles.rs"]
mod troubles;
#[cfg(test)]
#[path = "cli/usage.rs"]
mod usage;
