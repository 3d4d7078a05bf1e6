//! The progress bar: how much of the input is read, how many records are done.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::input::Progress;
use crate::{environment, size};

/// A bar on a terminal, nothing elsewhere.
#[derive(Debug)]
pub struct Bar {
    shown: Option<(ProgressBar, Measure)>,
}

/// What the length of the bar stands for.
#[derive(Debug)]
enum Measure {
    /// Bytes of a file.
    Bytes(Progress),
    /// Records.
    Records,
}

impl Bar {
    /// A bar over the input, if a person watches.
    pub fn new(progress: Progress) -> Self {
        match progress.total_bytes() {
            Some(total) => Self::shown(
                ProgressBar::new(total),
                "{bar:30} {bytes}/{total_bytes} {binary_bytes_per_sec}, {eta} left, {msg}",
                Measure::Bytes(progress),
            ),
            None => Self::shown(
                ProgressBar::new_spinner(),
                "{spinner} {bytes} {binary_bytes_per_sec}, {msg}",
                Measure::Bytes(progress),
            ),
        }
    }

    /// A bar over so many records.
    pub fn of_records(total: u64) -> Self {
        Self::shown(
            ProgressBar::new(total),
            "{bar:30} {msg} of {human_len}, {eta} left",
            Measure::Records,
        )
    }

    fn shown(bar: ProgressBar, template: &str, measure: Measure) -> Self {
        if !environment::progress() {
            return Self { shown: None };
        }
        let style = ProgressStyle::with_template(template);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(5));
        Self {
            shown: Some((bar, measure)),
        }
    }

    /// Shows how far it is.
    pub fn update(&self, records: u64) {
        if let Some((bar, measure)) = &self.shown {
            bar.set_message(format!("{} records", size::count(records)));
            bar.set_position(match measure {
                Measure::Bytes(progress) => progress.read_bytes(),
                Measure::Records => records,
            });
        }
    }

    /// Takes the bar away, before results are printed.
    pub fn finish(&self) {
        if let Some((bar, _)) = &self.shown {
            bar.finish_and_clear();
        }
    }
}
