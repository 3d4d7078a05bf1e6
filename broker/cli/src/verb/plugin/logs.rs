//! `weir plugin logs`: what a plugin has logged, for bindings of topics and for subscriptions.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};
use weir_wire::id::{BindingId, SubscriptionId};
use weir_wire::limits::{LOG_CURSORS_MAX, PAGE_ITEMS_MAX};
use weir_wire::name::PluginName;
use weir_wire::request::{LogCursor, LogLine};

use crate::connect::{ConnectArgs, connect};
use crate::exit::Failure;
use crate::failure::of_plugin;
use crate::output::{self, Format, OutputArgs};
use crate::record::Shown;

use super::{show, subscriptions};

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
    let (mut is_caught_up, mut in_a_row) = (false, 0);
    loop {
        let lines = match admin.plugin_logs(name, &known.cursors(), wait).await {
            Ok(lines) => lines,
            Err(error) => return Err(of_plugin(&client, name, error).await),
        };
        let mut text = String::new();
        let forgotten = known.forgotten;
        for line in &lines {
            let lost = known.take(line);
            if lost > 0 {
                output::note(&format!("{}: {lost} lines were forgotten", Who::of(line)));
            }
            text.push_str(&told(line, args.output.output));
            text.push('\n');
        }
        output::print(&text)?;
        is_caught_up |= lines.len() < PAGE_ITEMS_MAX;
        in_a_row = match known.forgotten - forgotten {
            0 => 0,
            more => in_a_row + more,
        };
        if !is_caught_up && known.forgotten > 0 || in_a_row > LOG_CURSORS_MAX {
            // Those that were forgotten have not ended: they come back in the places of others,
            // which come back then, and so on.
            return Err(Failure::failed(format!(
                "more than {LOG_CURSORS_MAX} bindings and subscriptions have logged for plugin \
                 \"{name}\", and no more can be told apart; try again when fewer of them use it"
            )));
        }
        if !args.follow && known.numbers.is_empty() {
            output::note(&format!(
                "no current binding of plugin \"{name}\", and no filter or projection of a \
                 subscription, has logged anything since the broker started; lines go with \
                 their binding or subscription, but for those of the last that ended"
            ));
        }
        if args.follow {
            wait = WAIT;
        } else if is_caught_up {
            break;
        }
    }
    // The lines are told; that the plugin was removed meanwhile is no failure of theirs.
    if let Ok(plugin) = admin.describe_plugin(name).await {
        let bindings = plugin.bindings.iter().filter_map(show::suppressed);
        let others = plugin.subscriptions.iter();
        for text in bindings.chain(others.filter_map(subscriptions::suppressed)) {
            output::note(&text);
        }
    }
    Ok(())
}

/// Who logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    /// The filter or projection at a place of a subscription.
    Guest(SubscriptionId, u32),
    Binding(BindingId),
}

impl Who {
    fn of(line: &LogLine) -> Self {
        match line.subscription {
            Some(subscription) => Self::Guest(subscription, line.position),
            None => Self::Binding(line.binding),
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Guest(subscription, position) => {
                write!(f, "{}", subscriptions::name(*subscription, *position))
            }
            Self::Binding(binding) => write!(f, "binding {binding}"),
        }
    }
}

/// How far the lines are known of those that were heard last.
#[derive(Debug, Default)]
struct Known {
    /// The number of each one's last line, and how many lines of all there were with it.
    numbers: BTreeMap<Who, (u64, u64)>,
    /// Who these were by the latter: the first is the one that was silent for longest.
    heard: BTreeMap<u64, Who>,
    /// The lines of all.
    lines: u64,
    /// How often one was forgotten.
    forgotten: usize,
}

impl Known {
    fn cursors(&self) -> Vec<LogCursor> {
        let cursors = self.numbers.iter().map(|(&who, &(number, _))| {
            let (binding, subscription, position) = match who {
                Who::Binding(binding) => (binding, None, 0),
                Who::Guest(id, position) => (BindingId::new(0), Some(id), position),
            };
            LogCursor {
                binding,
                number,
                subscription,
                position,
            }
        });
        cursors.collect()
    }

    /// Takes a line in; how many lines between it and the one before it were forgotten.
    fn take(&mut self, line: &LogLine) -> u64 {
        let who = Who::of(line);
        self.lines += 1;
        self.heard.insert(self.lines, who);
        if let Some((before, heard)) = self.numbers.insert(who, (line.number, self.lines)) {
            self.heard.remove(&heard);
            return line.number.saturating_sub(before.saturating_add(1));
        }
        // Subscriptions come and go. One that is still there is heard at once and known again, in
        // the place of another: so it must not be the next that is forgotten.
        if self.numbers.len() > LOG_CURSORS_MAX
            && let Some((_, silent)) = self.heard.pop_first()
        {
            self.numbers.remove(&silent);
            self.forgotten += 1;
        }
        0
    }
}

fn told(line: &LogLine, format: Format) -> String {
    match format {
        Format::Json => json(line).to_string(),
        Format::Table => {
            let LogLine {
                topic,
                hook,
                level,
                message,
                ..
            } = line;
            let (who, message) = (Who::of(line), Shown(message.as_bytes()));
            let level = word(*level);
            format!("{who} ({hook} of {topic})  {level:<5}  {message}")
        }
    }
}

fn json(line: &LogLine) -> Value {
    let is_bound = line.subscription.is_none();
    json!({
        "binding": is_bound.then(|| line.binding.value()),
        "subscription": line.subscription.map(SubscriptionId::value),
        "position": (!is_bound).then_some(line.position),
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
            subscription: None,
            position: 0,
        }
    }

    fn line_of(subscription: u64, position: u32, number: u64) -> LogLine {
        LogLine {
            subscription: Some(SubscriptionId::new(subscription)),
            position,
            hook: Hook::Filter,
            ..line(0, number)
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
    fn plugins_of_subscriptions_are_told_apart_from_bindings_and_each_other() {
        let mut known = Known::default();
        assert_eq!(known.take(&line(7, 1)), 0);
        assert_eq!(known.take(&line_of(7, 0, 5)), 0);
        assert_eq!(known.take(&line_of(7, 1, 9)), 0);
        assert_eq!(known.take(&line_of(7, 0, 7)), 1);
        let cursors = known.cursors();
        let told = cursors.iter().map(|at| {
            let subscription = at.subscription.map(SubscriptionId::value);
            (subscription, at.position, at.binding.value(), at.number)
        });
        let expected = [(Some(7), 0, 0, 7), (Some(7), 1, 0, 9), (None, 0, 7, 1)];
        assert_eq!(told.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn so_many_are_known_and_those_that_say_nothing_any_more_are_forgotten() {
        let mut known = Known::default();
        let is_known = |known: &Known, id| {
            let cursors = known.cursors();
            let id = Some(SubscriptionId::new(id));
            assert!(cursors.len() <= LOG_CURSORS_MAX);
            cursors.iter().any(|cursor| cursor.subscription == id)
        };
        known.take(&line(1, 1));
        let most = LOG_CURSORS_MAX as u64;
        for id in 1..most {
            known.take(&line_of(id, 0, 1));
        }
        assert!(known.forgotten == 0);
        // The first subscription goes on, and the binding is the one that has been silent.
        assert_eq!(known.take(&line_of(1, 0, 2)), 0);
        known.take(&line_of(most, 0, 1));
        known.take(&line_of(most + 1, 0, 1));
        assert!(known.forgotten > 0 && is_known(&known, 1));
        let cursors = known.cursors();
        assert!(cursors.iter().all(|cursor| cursor.subscription.is_some()));
        // One that was silent but is still at work is heard again, and known from then on.
        assert!(!is_known(&known, 2));
        for number in [1, 2] {
            known.take(&line_of(2, 0, number));
            assert!(is_known(&known, 2), "else its lines come for ever");
        }
        assert!(!is_known(&known, 3) && is_known(&known, 4));
        assert_eq!(known.heard.len(), known.numbers.len());
    }

    #[test]
    fn a_line_is_told() {
        assert_eq!(
            told(&line(3, 1), Format::Table),
            "binding 3 (key of orders)  warn   no\\tkey"
        );
        assert_eq!(
            told(&line_of(3, 1, 1), Format::Table),
            "subscription 3 at place 1 (filter of orders)  warn   no\\tkey"
        );
        let object = json(&line_of(3, 1, 1));
        assert_eq!(
            (&object["subscription"], &object["position"]),
            (&json!(3), &json!(1))
        );
        assert_eq!(object["binding"], Value::Null);
        let object = json(&line(3, 1));
        assert_eq!(
            (&object["binding"], &object["subscription"]),
            (&json!(3), &Value::Null)
        );
        assert_eq!(object["level"], "warn");
        assert_eq!(object["message"], "no\tkey");
    }
}
