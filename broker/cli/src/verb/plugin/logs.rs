//! `weir plugin logs`: what the bindings of a plugin have logged.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use weir_wire::id::BindingId;
use weir_wire::limits::PAGE_ITEMS_MAX;
use weir_wire::name::PluginName;
use weir_wire::request::{LogCursor, LogLine};

use crate::connect::{ConnectArgs, connect};
use crate::exit::Failure;
use crate::failure::of_plugin;
use crate::output::{self, Format, OutputArgs};
use crate::record::Shown;

use super::show::suppressed;

/// How long the broker waits for a line before it answers that there is none.
const WAIT: Duration = Duration::from_secs(5);

/// Arguments of `plugin logs`.
#[derive(Debug, clap::Args)]
pub struct LogsArgs {
    /// The plugin
    name: PluginName,
    /// Go on with lines as they come, until Ctrl-C
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Does it.
pub async fn run(args: LogsArgs) -> Result<(), Failure> {
    let client = connect(&args.connect).await?;
    let admin = client.admin();
    let name = args.name.as_str();
    let mut known = Known::default();
    let mut wait = Duration::ZERO;
    loop {
        let lines = match admin.plugin_logs(name, &known.cursors(), wait).await {
            Ok(lines) => lines,
            Err(error) => return Err(of_plugin(&client, name, error).await),
        };
        let mut text = String::new();
        for line in &lines {
            let lost = known.take(line);
            if lost > 0 {
                output::note(&format!(
                    "binding {}: {lost} lines were forgotten",
                    line.binding
                ));
            }
            text.push_str(&told(line, args.output.output));
            text.push('\n');
        }
        output::print(&text)?;
        if !args.follow && known.0.is_empty() {
            output::note(&format!(
                "no binding that there is now of plugin \"{name}\" has logged anything since the \
                 broker started; lines go with their binding, and filters and projections of \
                 subscriptions keep none here"
            ));
        }
        if args.follow {
            wait = WAIT;
        } else if lines.len() < PAGE_ITEMS_MAX {
            break;
        }
    }
    for binding in &admin.describe_plugin(name).await?.bindings {
        if binding.counters.log_lines_suppressed > 0 {
            output::note(&suppressed(binding));
        }
    }
    Ok(())
}

/// How far each binding's lines are known.
#[derive(Debug, Default)]
struct Known(BTreeMap<BindingId, u64>);

impl Known {
    fn cursors(&self) -> Vec<LogCursor> {
        let cursors = self.0.iter();
        cursors
            .map(|(&binding, &number)| LogCursor { binding, number })
            .collect()
    }

    /// Takes a line in; how many lines between it and the one before it were forgotten.
    fn take(&mut self, line: &LogLine) -> u64 {
        match self.0.insert(line.binding, line.number) {
            Some(before) => line.number.saturating_sub(before.saturating_add(1)),
            None => 0,
        }
    }
}

fn told(line: &LogLine, format: Format) -> String {
    match format {
        Format::Json => json(line).to_string(),
        Format::Table => {
            let LogLine {
                binding,
                topic,
                hook,
                level,
                message,
                ..
            } = line;
            let message = Shown(message.as_bytes());
            let level = word(*level);
            format!("binding {binding} ({hook} of {topic})  {level:<5}  {message}")
        }
    }
}

fn json(line: &LogLine) -> Value {
    json!({
        "binding": line.binding.value(),
        "topic": line.topic.to_string(),
        "hook": line.hook.word(),
        "version": line.version.to_string(),
        "number": line.number,
        "level": word(line.level),
        "message": line.message,
    })
}

/// The word for a level; those that a later broker may know are errors here.
const fn word(level: u32) -> &'static str {
    match level {
        0 => "debug",
        1 => "info",
        2 => "warn",
        _ => "error",
    }
}

#[cfg(test)]
mod tests {
    use weir_wire::id::PluginVersion;
    use weir_wire::plugin::Hook;

    use super::*;

    fn line(binding: u64, number: u64) -> LogLine {
        LogLine {
            binding: BindingId::new(binding),
            topic: "orders".parse().unwrap(),
            hook: Hook::Key,
            version: PluginVersion::new([0xab; 32]),
            number,
            level: 2,
            message: "no\tkey".to_owned(),
        }
    }

    #[test]
    fn lines_that_were_forgotten_are_counted_by_binding() {
        let mut known = Known::default();
        assert_eq!(known.take(&line(1, 5)), 0);
        assert_eq!(known.take(&line(2, 1)), 0);
        assert_eq!(known.take(&line(1, 6)), 0);
        assert_eq!(known.take(&line(1, 10)), 3);
        let cursors = known.cursors();
        let numbers: Vec<_> = cursors.iter().map(|at| at.number).collect();
        assert_eq!(numbers, [10, 1]);
    }

    #[test]
    fn a_line_is_told() {
        assert_eq!(
            told(&line(3, 1), Format::Table),
            "binding 3 (key of orders)  warn   no\\tkey"
        );
        let object = json(&line(3, 1));
        assert_eq!(object["level"], "warn");
        assert_eq!(object["message"], "no\tkey");
    }
}
