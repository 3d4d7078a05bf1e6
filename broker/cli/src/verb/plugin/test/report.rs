//! What a test says in the end: a page for people, an object for programs.

use serde_json::{Map, Value, json};
use weir_host::{BindingStats, LogLevel, LogLine};
use weir_wire::plugin::Hook;

use super::records::Place;
use super::subject::{Setup, Subject};
use super::tally::{Comparison, Example, Tally};
use crate::exit::Failure;
use crate::output::{self, Format};
use crate::record::{Shown, shorten};
use crate::{environment, size};

/// Characters of a line where nobody says how wide the terminal is.
const WIDTH: usize = 120;
/// Log lines that are shown.
const LOG_LINES: usize = 8;

/// Everything that is to be said.
#[derive(Debug)]
pub struct Report<'a> {
    /// What was tested.
    pub setup: &'a Setup,
    /// The plugin.
    pub subject: &'a Subject,
    /// What it answered.
    pub tally: &'a Tally,
    /// With `--against`: the other one, what it answered, how that differs.
    pub against: Option<(&'a Subject, &'a Tally, &'a Comparison)>,
}

impl Report<'_> {
    /// Prints it.
    pub fn print(&self, format: Format) -> Result<(), Failure> {
        match format {
            Format::Json => output::print(&self.json().to_string()),
            Format::Table => {
                let width = environment::width().unwrap_or(WIDTH);
                output::print(&self.text(width))
            }
        }
    }

    fn json(&self) -> Value {
        let Setup { hook, config, .. } = self.setup;
        let config: Map<String, Value> = config
            .iter()
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect();
        let mut object = Map::new();
        object.insert("hook".to_owned(), json!(hook.word()));
        object.insert("config".to_owned(), json!(config));
        self.side(self.subject, self.tally, &mut object);
        let tally = self.tally;
        let examples = tally.examples.iter();
        let examples = examples.filter(|(_, examples)| !examples.is_empty());
        let examples: Map<String, Value> = examples
            .map(|(sort, examples)| (underscored(sort), examples_json(examples)))
            .collect();
        object.insert("examples".to_owned(), json!(examples));
        object.insert("failures".to_owned(), examples_json(&tally.failures));
        object.insert("not_judged_because".to_owned(), json!(tally.not_judged));
        let lines = self.subject.log_lines();
        let lines = lines.iter().map(|line| {
            json!({ "level": level(line.level), "message": line.message, "number": line.number })
        });
        object.insert("log".to_owned(), json!(lines.collect::<Vec<_>>()));
        if let Some((subject, tally, comparison)) = self.against {
            let mut other = Map::new();
            self.side(subject, tally, &mut other);
            other.insert("differing".to_owned(), json!(comparison.differing));
            let examples = examples_json(&comparison.examples);
            other.insert("differences".to_owned(), examples);
            object.insert("against".to_owned(), Value::Object(other));
        }
        Value::Object(object)
    }

    /// What is said of either of two plugins.
    fn side(&self, subject: &Subject, tally: &Tally, object: &mut Map<String, Value>) {
        let stats = subject.stats();
        let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
        put("plugin", json!(subject.name));
        put("version", json!(subject.version.to_string()));
        put("records", json!(tally.records));
        put("kept", json!(tally.kept));
        put("failed", json!(tally.of_sort("failed")));
        put("not_judged", json!(tally.of_sort("not judged")));
        put("match_rate", json!(share(tally.kept, tally.records)));
        let sorts: Map<String, Value> = tally
            .sorts
            .iter()
            .map(|(sort, count)| (underscored(sort), json!(count)))
            .collect();
        put("verdicts", json!(sorts));
        match self.setup.hook {
            Hook::Route => {
                let routes = self.setup.routes.iter().zip(&tally.routes);
                let routes: Map<String, Value> = routes
                    .map(|(name, count)| (name.clone(), json!(count)))
                    .collect();
                put("routes", json!(routes));
            }
            Hook::Key => {
                put("keys_distinct", json!(tally.keys.len()));
                put("keys_distinct_at_least", json!(tally.has_more_keys()));
            }
            Hook::Transform | Hook::Project => {
                put("outputs", json!(tally.outputs));
            }
            Hook::RetryPolicy => {
                let (least, most) = tally.delays.unzip();
                put("delay_ms_min", json!(least.map(|ms| ms as u64)));
                put("delay_ms_max", json!(most.map(|ms| ms as u64)));
            }
            _ => {}
        }
        put("ns_per_record_p50", json!(subject.times.quantile(0.5)));
        put("ns_per_record_p99", json!(subject.times.quantile(0.99)));
        put("memory_bytes", json!(stats.memory_max));
        put("plugin_calls", json!(stats.plugin_calls));
        put("impure", json!(stats.impure));
        put("log_lines_suppressed", json!(stats.log_lines_suppressed));
    }

    fn text(&self, width: usize) -> String {
        let mut text = Text {
            text: String::new(),
            width,
        };
        let Setup { hook, config, .. } = self.setup;
        let (subject, tally) = (self.subject, self.tally);
        text.line(&title(subject, *hook));
        for (name, value) in config {
            text.line(&format!("  {name}={value}"));
        }
        text.blank();
        text.count("records", tally.records, None);
        for (sort, count) in &tally.sorts {
            text.count(sort, *count, Some(tally.records));
        }
        self.counts(&mut text);
        text.costs(subject, &subject.stats());
        for (sort, examples) in &tally.examples {
            text.examples(&format!("{sort}, for example:"), examples);
        }
        text.examples("failures:", &tally.failures);
        if let Some(reason) = &tally.not_judged {
            text.blank();
            text.line(&format!(
                "{} in calls that failed as a whole: {}",
                size::counted(tally.of_sort("not judged"), "record"),
                Shown(reason.as_bytes())
            ));
        }
        text.log(&subject.log_lines());
        if let Some((old, old_tally, comparison)) = self.against {
            text.blank();
            text.line(&format!("against {}", title(old, *hook)));
            text.blank();
            text.count("differing", comparison.differing, Some(tally.records));
            text.count("kept", old_tally.kept, Some(old_tally.records));
            text.count("failed", old_tally.of_sort("failed"), None);
            text.costs(old, &old.stats());
            text.examples("differences, for example:", &comparison.examples);
        }
        text.text
    }

    /// What only this hook has to say.
    fn counts(&self, text: &mut Text) {
        let tally = self.tally;
        match self.setup.hook {
            Hook::Route => {
                for (route, count) in self.setup.routes.iter().zip(&tally.routes) {
                    text.count(&format!("  to {route}"), *count, Some(tally.records));
                }
            }
            Hook::Key => {
                let more = if tally.has_more_keys() { "or more" } else { "" };
                let keys = size::count(tally.keys.len() as u64);
                text.line(&format!("  {:<22}{keys:>12}  {more}", "different keys"));
            }
            Hook::Transform => text.count("records after it", tally.outputs, None),
            Hook::RetryPolicy => {
                if let Some((least, most)) = tally.delays {
                    let delays = format!("{least} to {most} ms");
                    text.line(&format!("  {:<22}{delays:>12}", "delays"));
                }
            }
            _ => {}
        }
    }
}

/// Lines for people.
struct Text {
    text: String,
    width: usize,
}

impl Text {
    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// A line that shows a record and is cut where the terminal ends.
    fn cut(&mut self, line: &str) {
        self.line(&shorten(line, self.width.max(40)));
    }

    fn blank(&mut self) {
        self.text.push('\n');
    }

    fn count(&mut self, what: &str, count: u64, of: Option<u64>) {
        let share = of
            .and_then(|of| share(count, of))
            .map(|share| format!("{:6.2} %", share * 100.0));
        let count = size::count(count);
        let share = share.unwrap_or_default();
        self.line(&format!("  {what:<22}{count:>12}  {share}"));
    }

    fn costs(&mut self, subject: &Subject, stats: &BindingStats) {
        let ns = |share| {
            let time: Option<f64> = subject.times.quantile(share);
            time.map_or_else(|| "-".to_owned(), |ns| format!("{ns:.1} ns"))
        };
        let p50 = ns(0.5);
        let p99 = ns(0.99);
        self.line(&format!(
            "  {:<22}{p50:>12}  p50, {p99} p99 (processor time, by batch)",
            "time per record"
        ));
        let memory = size::bytes(stats.memory_max);
        self.line(&format!("  {:<22}{memory:>12}", "memory"));
        if stats.impure {
            self.line("  IMPURE: the same record got different answers; it must be a function of");
            self.line("  the record and its settings alone");
        }
    }

    fn examples(&mut self, title: &str, examples: &[Example]) {
        if examples.is_empty() {
            return;
        }
        self.blank();
        self.line(title);
        for example in examples {
            let key = example.key.as_ref();
            let key = key.map_or_else(String::new, |key| format!("{key}  "));
            let place = place(example.place);
            let value = example.changed.as_ref().unwrap_or(&example.value);
            self.cut(&format!("  {place:<12}  {key}{value}"));
            if let Some(note) = &example.note {
                self.cut(&format!("  {:<12}  → {note}", ""));
            }
        }
    }

    fn log(&mut self, lines: &[LogLine]) {
        let Some(shown) = lines.get(lines.len().saturating_sub(LOG_LINES)..) else {
            return;
        };
        if shown.is_empty() {
            return;
        }
        self.blank();
        self.line("it logged, last:");
        for line in shown {
            self.cut(&format!("  {:<6} {}", level(line.level), line.message));
        }
    }
}

fn title(subject: &Subject, hook: Hook) -> String {
    format!(
        "{} (version {}), hook {hook}",
        subject.name,
        subject.version.short()
    )
}

fn place(place: Place) -> String {
    match place {
        Place::Line(number) => format!("line {number}"),
        Place::Offset(partition, offset) => format!("{partition}@{offset}"),
    }
}

/// The word for a level.
const fn level(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn underscored(words: &str) -> String {
    words.replace([' ', '-'], "_")
}

fn examples_json(examples: &[Example]) -> Value {
    let objects = examples.iter().map(|example| {
        let mut object = Map::new();
        match example.place {
            Place::Line(number) => {
                object.insert("line".to_owned(), json!(number.value()));
            }
            Place::Offset(partition, offset) => {
                object.insert("partition".to_owned(), json!(partition.value()));
                object.insert("offset".to_owned(), json!(offset.value()));
            }
        }
        object.insert("key".to_owned(), json!(example.key));
        object.insert("value".to_owned(), json!(example.value));
        object.insert("changed_part".to_owned(), json!(example.changed));
        object.insert("note".to_owned(), json!(example.note));
        Value::Object(object)
    });
    Value::Array(objects.collect())
}
