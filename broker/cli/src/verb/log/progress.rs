//! How far a long look at a log is, for a person who watches.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::environment;

/// A bar on a terminal, nothing elsewhere.
#[derive(Debug)]
pub struct Bar(Option<ProgressBar>);

impl Bar {
    /// A bar whose length is known later.
    pub fn new() -> Self {
        if !environment::progress() {
            return Self(None);
        }
        let bar = ProgressBar::new(0);
        let template = "{bar:30} {bytes}/{total_bytes} {binary_bytes_per_sec}, {eta} left {msg}";
        let style = ProgressStyle::with_template(template);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(5));
        Self(Some(bar))
    }

    /// A count without an end.
    pub fn spinner() -> Self {
        if !environment::progress() {
            return Self(None);
        }
        let bar = ProgressBar::new_spinner();
        let style = ProgressStyle::with_template("{spinner} {bytes} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(5));
        Self(Some(bar))
    }

    /// So many bytes are done, of so many.
    pub fn update(&self, done: u64, total: u64) {
        if let Some(bar) = &self.0 {
            bar.set_length(total);
            bar.set_position(done);
        }
    }

    /// So many bytes are done, and so many records.
    pub fn count(&self, bytes: u64, message: String) {
        if let Some(bar) = &self.0 {
            bar.set_position(bytes);
            bar.set_message(message);
        }
    }

    /// Takes the bar away, before results are printed.
    pub fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
