//! What the demo found, for people and for programs.

use std::fmt::Write;

use serde_json::{Value, json};

use super::flights::{ORIGINS, TOPICS};
use super::job::{ADDRESSED, Findings, PARTITIONS};
use crate::output::Listing;
use crate::size;

/// The report.
pub fn text(findings: &Findings, input: &str) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut text, findings);
    text.push_str(&conclusion(findings));
    text.push_str(&by_hand(input));
    text
}

fn count(number: usize) -> String {
    size::count(number as u64)
}

fn write(text: &mut String, findings: &Findings) -> std::fmt::Result {
    let seconds = findings.sent_in.as_secs_f64().max(0.001);
    writeln!(
        text,
        "A broker of its own (TLS, every acknowledgement fsynced), {} flights ({}), 4 plugins \
         compiled in {:.1} s\n",
        count(findings.flights),
        size::bytes(findings.bytes as u64),
        findings.pushed_in.as_secs_f64(),
    )?;
    writeln!(
        text,
        "1. Stored: json-key took each flight's ordering key from the field tailnum, json-route \
         its\n   topic from the field origin; {:.2} s, {} records/s",
        findings.sent_in.as_secs_f64(),
        count((findings.flights as f64 / seconds) as usize),
    )?;
    let mut table = Listing::new(&["topic", "records#", "expected#"]);
    for (topic, found, expected) in &findings.stored {
        table.row([(*topic).to_owned(), count(*found), count(*expected)]);
    }
    for line in table.render(None).lines() {
        writeln!(text, "     {line}")?;
    }
    writeln!(
        text,
        "   Every line once, byte for byte, in the topic of its origin.\n\n\
         2. Order: {} aircraft, {} pairs of topic and aircraft: each in one of {PARTITIONS} \
         partitions, in the\n   order of the input. {} flights name no aircraft and have no \
         order.\n",
        count(findings.aircraft),
        count(findings.orders),
        count(findings.unordered),
    )?;
    for (number, filtered) in findings.filtered.iter().enumerate() {
        writeln!(
            text,
            "{}. {} {}: {} delivered, expected {}; {} stayed in the broker",
            number + 3,
            filtered.plugin,
            filtered.setting,
            count(filtered.delivered),
            count(filtered.expected),
            count(findings.flights.saturating_sub(filtered.delivered)),
        )?;
    }
    Ok(())
}

fn conclusion(findings: &Findings) -> String {
    if findings.problems.total() == 0 {
        return "\nAll of it is right: what is expected was computed from the input alone, by \
                code that knows\nno broker, and compared record by record.\n"
            .to_owned();
    }
    let mut text = format!("\nWRONG, {} times; first:\n", findings.problems.total());
    for problem in findings.problems.told() {
        text.push_str(&format!("  {problem}\n"));
    }
    text
}

/// The commands that do the same.
fn by_hand(input: &str) -> String {
    let mut lines = vec![
        "\nThe same by hand, in the folder of the sources:".to_owned(),
        "  weir serve     # in another terminal".to_owned(),
        format!("  weir topic create {ADDRESSED}"),
    ];
    for topic in TOPICS {
        lines.push(format!(
            "  weir topic create {topic} --partitions {PARTITIONS}"
        ));
    }
    for plugin in ["json-key", "json-route", "tag-filter", "json-filter"] {
        lines.push(format!(
            "  weir plugin push plugins/prebuilt/{plugin}.wasm --name {plugin}"
        ));
    }
    lines.push(format!(
        "  weir plugin bind json-key --topic {ADDRESSED} --hook key --config field=tailnum"
    ));
    let routes = ORIGINS.into_iter().chain(["*"]).zip(TOPICS);
    let routes: Vec<_> = routes
        .map(|(value, topic)| format!("--to '{value}={topic}'"))
        .collect();
    lines.push(format!(
        "  weir plugin bind json-route --topic {ADDRESSED} --hook route --config field=origin \\\n\
         \x20     {}",
        routes.join(" ")
    ));
    lines.push(format!(
        "  weir produce {ADDRESSED} {input} --tag-field carrier"
    ));
    let topics = TOPICS.join(" ");
    lines.push(format!(
        "  weir consume {topics} --until-end \\\n\
         \x20     --filter tag-filter --config 'tags=UA || DL' | wc -l"
    ));
    lines.push(format!(
        "  weir consume {topics} --until-end \\\n\
         \x20     --filter json-filter --config 'where=dep_delay > 15' | wc -l"
    ));
    lines.push("  weir topic list".to_owned());
    lines.join("\n")
}

/// The findings as an object.
pub fn json(findings: &Findings) -> Value {
    let stored = findings.stored.iter().map(|(topic, records, expected)| {
        json!({ "topic": topic, "records": records, "expected": expected })
    });
    let filtered = findings.filtered.iter().map(|filtered| {
        json!({
            "plugin": filtered.plugin,
            "setting": filtered.setting,
            "delivered": filtered.delivered,
            "expected": filtered.expected,
        })
    });
    json!({
        "flights": findings.flights,
        "bytes": findings.bytes,
        "aircraft": findings.aircraft,
        "without_aircraft": findings.unordered,
        "plugins_pushed_seconds": findings.pushed_in.as_secs_f64(),
        "sent_seconds": findings.sent_in.as_secs_f64(),
        "stored": stored.collect::<Vec<_>>(),
        "orders_checked": findings.orders,
        "filtered": filtered.collect::<Vec<_>>(),
        "problems": findings.problems.total(),
        "first_problems": findings.problems.told(),
    })
}
