//! The progress bar: how much of the input is read, how fast records become safe.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::input::Progress;
use crate::{environment, size};

/// A bar on a terminal, nothing elsewhere.
#[derive(Debug)]
pub struct Bar {
    shown: Option<(ProgressBar, Progress)>,
}

impl Bar {
    /// A bar over the input, if a person watches.
    pub fn new(progress: Progress) -> Self {
        if !environment::progress() {
            return Self { shown: None };
        }
        let (bar, template) = match progress.total_bytes() {
            Some(total) => (
                ProgressBar::new(total),
                "{bar:30} {bytes}/{total_bytes} {binary_bytes_per_sec}, {eta} left, {msg}",
            ),
            None => (
                ProgressBar::new_spinner(),
                "{spinner} {bytes} {binary_bytes_per_sec}, {msg}",
            ),
        };
        let style = ProgressStyle::with_template(template);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(5));
        Self {
            shown: Some((bar, progress)),
        }
    }

    /// Shows how far it is.
    pub fn update(&self, records: u64) {
        if let Some((bar, progress)) = &self.shown {
            bar.set_message(format!("{} records", size::count(records)));
            bar.set_position(progress.read_bytes());
        }
    }

    /// Takes the bar away, before results are printed.
    pub fn finish(&self) {
        if let Some((bar, _)) = &self.shown {
            bar.finish_and_clear();
        }
    }
}
