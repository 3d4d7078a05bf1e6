//! The settings of a binding, and the check that each was understood.

mod typed;

use crate::Error;
use serde_core::Deserialize;
use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::str::FromStr;

/// The settings given to `weir plugin bind` or to a subscription (`--config name=value`).
///
/// They are read one by one, or all at once into a type that serde can deserialize
/// ([`typed`](Self::typed)). A setting that the plugin never asked for is refused after
/// `configure`: a misspelt name must not become a filter that does something else.
#[derive(Debug, Default)]
pub struct Config {
    settings: Vec<(String, String)>,
    known: RefCell<Vec<Known>>,
    /// Whether whatever is given is known.
    knows_all: Cell<bool>,
}

#[derive(Debug)]
struct Known {
    name: &'static str,
    may_repeat: bool,
}

impl Config {
    /// Wraps the settings of a binding.
    #[must_use]
    pub fn new(settings: Vec<(String, String)>) -> Self {
        Self {
            settings,
            ..Self::default()
        }
    }

    /// The setting, if it was given.
    #[must_use]
    pub fn optional(&self, name: &'static str) -> Option<&str> {
        self.know(name, false);
        self.given(name).next()
    }

    /// The setting.
    ///
    /// # Errors
    /// If it was not given; the message names it.
    pub fn require(&self, name: &'static str) -> Result<&str, Error> {
        self.optional(name).ok_or_else(|| missing(name))
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
        text.parse()
            .map_err(|error| not_understood(name, text, &error))
    }

    /// All values of a setting that may be given several times, in their order.
    pub fn every(&self, name: &'static str) -> impl Iterator<Item = &str> {
        self.know(name, true);
        self.given(name)
    }

    /// All settings at once, as a struct that derives serde's `Deserialize`.
    ///
    /// A field is a setting of its name. Text, numbers, `true` and `false`, and variants of an enum
    /// (by name) are read from the setting's text; an `Option` is `None` if it was not given;
    /// `#[serde(default)]` gives other defaults. A `Vec` takes its elements from a text with
    /// commas, from a setting that is given several times, or both.
    ///
    /// ```
    /// use serde::Deserialize;
    /// use weir_plugin::{Error, testing};
    ///
    /// #[derive(Deserialize, Debug, PartialEq)]
    /// struct Settings {
    ///     field: String,
    ///     #[serde(default)]
    ///     unit: Unit,
    ///     max: Option<u32>,
    ///     #[serde(default)]
    ///     except: Vec<String>,
    /// }
    ///
    /// #[derive(Deserialize, Debug, Default, PartialEq)]
    /// #[serde(rename_all = "lowercase")]
    /// enum Unit {
    ///     #[default]
    ///     Minutes,
    ///     Hours,
    /// }
    ///
    /// # fn main() -> Result<(), Error> {
    /// let config = testing::config(&[("field", "delay"), ("unit", "hours"), ("except", "UA,DL")]);
    /// let settings: Settings = config.typed()?;
    /// assert_eq!(settings.unit, Unit::Hours);
    /// assert_eq!(settings.max, None);
    /// assert_eq!(settings.except, ["UA", "DL"]);
    ///
    /// let config = testing::config(&[("field", "delay"), ("max", "many")]);
    /// assert_eq!(
    ///     config.typed::<Settings>().unwrap_err().message(),
    ///     "setting `max=many` is not understood: invalid digit found in string"
    /// );
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If a setting is missing, given twice or not understood; the message names it.
    pub fn typed<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Error> {
        T::deserialize(typed::Settings(self)).map_err(|error| error.into_error())
    }

    /// Refuses settings that nothing asked for, and settings given twice that may not be. The kit
    /// calls it after `configure`.
    ///
    /// # Errors
    /// If there is one; the message names it and those that are known.
    pub fn finish(&self) -> Result<(), Error> {
        let known = self.known.borrow();
        for (index, (name, _)) in self.settings.iter().enumerate() {
            let Some(found) = known.iter().find(|known| known.name == name) else {
                if self.knows_all.get() {
                    continue;
                }
                return Err(unknown(name, &known));
            };
            let mut earlier = self.settings.iter().take(index);
            if !found.may_repeat && earlier.any(|(earlier, _)| earlier == name) {
                return Err(given_twice(name));
            }
        }
        Ok(())
    }

    fn given(&self, name: &str) -> impl Iterator<Item = &str> {
        self.settings
            .iter()
            .filter(move |(given, _)| given == name)
            .map(|(_, value)| value.as_str())
    }

    fn know(&self, name: &'static str, may_repeat: bool) {
        let mut known = self.known.borrow_mut();
        match known.iter_mut().find(|known| known.name == name) {
            Some(known) => known.may_repeat |= may_repeat,
            None => known.push(Known { name, may_repeat }),
        }
    }

    /// A known setting turns out to be a list.
    fn may_repeat(&self, name: &str) {
        let mut known = self.known.borrow_mut();
        if let Some(known) = known.iter_mut().find(|known| known.name == name) {
            known.may_repeat = true;
        }
    }
}

fn missing(name: &str) -> Error {
    Error::new(format!(
        "setting `{name}` is missing: bind with --config {name}=…"
    ))
}

fn not_understood(name: &str, text: &str, why: &dyn Display) -> Error {
    Error::new(format!("setting `{name}={text}` is not understood: {why}"))
}

fn given_twice(name: &str) -> Error {
    Error::new(format!("setting `{name}` was given twice"))
}

fn unknown(name: &str, known: &[Known]) -> Error {
    let names: Vec<&str> = known.iter().map(|known| known.name).collect();
    let names = if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    };
    Error::new(format!(
        "setting `{name}` is not known; this plugin's settings: {names}"
    ))
}

#[cfg(test)]
mod tests {
    use crate::testing::config;

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

    #[test]
    fn a_setting_may_repeat_where_the_plugin_says_so() {
        let config = config(&[("also", "a"), ("x", "1"), ("also", "b")]);
        assert_eq!(config.every("also").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(config.every("none").count(), 0);
        assert_eq!(config.optional("x"), Some("1"));
        assert!(config.finish().is_ok());
    }
}
