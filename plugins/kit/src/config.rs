//! The settings of a binding, and the check that each was understood.

use crate::Error;
use std::cell::RefCell;
use std::fmt::Display;
use std::str::FromStr;

/// The settings given to `weir plugin bind` or to a subscription (`--config name=value`).
///
/// A setting that the plugin never asked for is refused after `configure`: a misspelt name must
/// not become a filter that does something else.
#[derive(Debug, Default)]
pub struct Config {
    settings: Vec<(String, String)>,
    known: RefCell<Vec<&'static str>>,
}

impl Config {
    /// Wraps the settings of a binding.
    #[must_use]
    pub fn new(settings: Vec<(String, String)>) -> Self {
        Self {
            settings,
            known: RefCell::default(),
        }
    }

    /// The setting, if it was given.
    #[must_use]
    pub fn optional(&self, name: &'static str) -> Option<&str> {
        self.known.borrow_mut().push(name);
        let found = self.settings.iter().find(|(given, _)| given == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The setting.
    ///
    /// # Errors
    /// If it was not given; the message names it.
    pub fn require(&self, name: &'static str) -> Result<&str, Error> {
        self.optional(name).ok_or_else(|| {
            Error::new(format!(
                "setting `{name}` is missing: bind with --config {name}=…"
            ))
        })
    }

    /// The setting as any type that can be parsed.
    ///
    /// # Errors
    /// If it was not given, or is not understood; the message names it.
    pub fn parse<T>(&self, name: &'static str) -> Result<T, Error>
    where
        T: FromStr,
        T::Err: Display,
    {
        let text = self.require(name)?;
        text.parse().map_err(|error| {
            Error::new(format!(
                "setting `{name}={text}` is not understood: {error}"
            ))
        })
    }

    /// Refuses settings that nothing asked for, and settings given twice. The kit calls it after
    /// `configure`.
    ///
    /// # Errors
    /// If there is one; the message names it and those that are known.
    pub fn finish(&self) -> Result<(), Error> {
        let known = self.known.borrow();
        for (index, (name, _)) in self.settings.iter().enumerate() {
            if !known.iter().any(|known| known == name) {
                let known = if known.is_empty() {
                    "none".to_owned()
                } else {
                    known.join(", ")
                };
                return Err(Error::new(format!(
                    "setting `{name}` is not known; this plugin's settings: {known}"
                )));
            }
            if self
                .settings
                .iter()
                .take(index)
                .any(|(earlier, _)| earlier == name)
            {
                return Err(Error::new(format!("setting `{name}` was given twice")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Config;

    fn config(settings: &[(&str, &str)]) -> Config {
        Config::new(
            settings
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn names_what_is_missing_wrong_unknown_or_double() {
        let missing = config(&[]).require("field").unwrap_err();
        assert_eq!(
            missing.message(),
            "setting `field` is missing: bind with --config field=…"
        );

        let wrong = config(&[("limit", "x")]).parse::<u32>("limit").unwrap_err();
        assert_eq!(
            wrong.message(),
            "setting `limit=x` is not understood: invalid digit found in string"
        );

        let misspelt = config(&[("feild", "a"), ("field", "b")]);
        assert_eq!(misspelt.require("field").unwrap(), "b");
        assert_eq!(
            misspelt.finish().unwrap_err().message(),
            "setting `feild` is not known; this plugin's settings: field"
        );

        let double = config(&[("field", "a"), ("field", "b")]);
        assert!(double.optional("field").is_some());
        assert_eq!(
            double.finish().unwrap_err().message(),
            "setting `field` was given twice"
        );
    }
}
