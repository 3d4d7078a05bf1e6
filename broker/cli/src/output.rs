//! Results on standard output: JSON for programs, tables for people.

use std::io::{self, Write};

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};
use serde_json::Value;

use crate::environment;
use crate::exit::Failure;
use crate::record::Shown;

/// `--output` of verbs that print results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Table,
    /// One JSON object, or one per line where there are many
    Json,
}

/// The flag, flattened into verbs.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct OutputArgs {
    /// How results are printed
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
}

/// Prints one result: the object, or what people see instead.
pub fn print_one(format: Format, object: &Value, text: &str) -> Result<(), Failure> {
    match format {
        Format::Json => print(&object.to_string()),
        Format::Table => print(text),
    }
}

/// Says that something is done: the object for programs, a word for people.
pub fn print_done(format: Format, object: &Value, text: &str) -> Result<(), Failure> {
    match format {
        Format::Json => print(&object.to_string()),
        Format::Table => {
            note(text);
            Ok(())
        }
    }
}

/// Prints results: an object per line, or a table of them.
pub fn print_many(format: Format, objects: &[Value], table: &Listing) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match format {
        Format::Json => objects
            .iter()
            .try_for_each(|object| writeln!(out, "{object}")),
        Format::Table => writeln!(out, "{}", table.render(environment::width())),
    }
    .and_then(|()| out.flush())
    .map_err(|error| Failure::writing(&error))
}

/// Prints text, with a newline behind it if it has none.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let newline = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    write!(out, "{text}{newline}")
        .and_then(|()| out.flush())
        .map_err(|error| Failure::writing(&error))
}

/// Tells a person something that is no result.
pub fn note(text: &str) {
    // A closed standard error is nobody's reason to stop.
    writeln!(io::stderr(), "{}", shown(text)).ok();
}

/// Lines for a terminal: what a plugin or a broker said in them does not move its cursor.
pub fn shown(text: &str) -> String {
    let lines = text.lines().map(|line| Shown(line.as_bytes()).to_string());
    lines.collect::<Vec<_>>().join("\n")
}

/// A table without lines, a column per name.
#[derive(Debug)]
pub struct Listing {
    names: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    /// Columns that hold numbers and stand to the right.
    numbers: Vec<usize>,
}

impl Listing {
    /// A table with these columns; a name that ends in `#` is one of numbers.
    pub fn new(columns: &[&'static str]) -> Self {
        let names = columns
            .iter()
            .map(|name| name.trim_end_matches('#'))
            .collect();
        let numbers = columns.iter().enumerate();
        Self {
            names,
            rows: Vec::new(),
            numbers: numbers
                .filter(|(_, name)| name.ends_with('#'))
                .map(|(index, _)| index)
                .collect(),
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table as text, no wider than `width` where that is possible.
    pub fn render(&self, width: Option<usize>) -> String {
        let mut table = Table::new();
        table.load_preset(NOTHING);
        match width.and_then(|width| u16::try_from(width).ok()) {
            Some(width) => {
                table.set_content_arrangement(ContentArrangement::Dynamic);
                table.set_width(width);
            }
            None => {
                table.set_content_arrangement(ContentArrangement::Disabled);
            }
        }
        table.set_header(self.names.iter().map(|name| self.head(name)));
        for row in &self.rows {
            let cells = row.iter().enumerate();
            table.add_row(cells.map(|(index, cell)| self.cell(index, cell)));
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let lines = table.to_string();
        let lines: Vec<_> = lines.lines().map(str::trim_end).collect();
        lines.join("\n")
    }

    fn head(&self, name: &str) -> Cell {
        let index = self.names.iter().position(|other| *other == name);
        self.cell(index.unwrap_or_default(), &name.to_uppercase())
    }

    fn cell(&self, index: usize, text: &str) -> Cell {
        let cell = Cell::new(text);
        if self.numbers.contains(&index) {
            cell.set_alignment(CellAlignment::Right)
        } else {
            cell
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn what_others_say_does_not_move_the_cursor() {
        assert_eq!(
            shown("one\ntwo\x1b[2Jthree\r"),
            "one\ntwo\\u{1b}[2Jthree\\r"
        );
    }

    #[test]
    fn a_table_is_columns_without_lines() {
        let mut table = Listing::new(&["topic", "records#"]);
        table.row(["flights".to_owned(), "336,776".to_owned()]);
        table.row(["f".to_owned(), "1".to_owned()]);
        expect![[r#"
            TOPIC    RECORDS
            flights  336,776
            f              1"#]]
        .assert_eq(&table.render(None));
    }
}
