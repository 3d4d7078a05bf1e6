//! Settings as serde sees them: a map from names to texts, one level deep.

use super::{Config, given_twice, missing, not_understood};
use crate::Error;
use serde_core::de::value::{BorrowedStrDeserializer, StrDeserializer};
use serde_core::de::{
    self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
    Visitor,
};
use serde_core::forward_to_deserialize_any;
use std::fmt::{self, Display};
use std::str::FromStr;
use std::vec;

/// What serde reports. Which setting it is about is known one level further up.
#[derive(Debug)]
pub(super) enum TypedError {
    /// About the value that is being read.
    Value(String),
    /// A whole sentence.
    Setting(Error),
}

impl TypedError {
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Value(message) => {
                Error::new(format!("the settings are not understood: {message}"))
            }
            Self::Setting(error) => error,
        }
    }

    fn about(self, name: &str, text: &str) -> Self {
        match self {
            Self::Value(message) => Self::Setting(not_understood(name, text, &message)),
            whole @ Self::Setting(_) => whole,
        }
    }
}

impl Display for TypedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(message) => f.write_str(message),
            Self::Setting(error) => Display::fmt(error, f),
        }
    }
}

impl std::error::Error for TypedError {}

impl de::Error for TypedError {
    fn custom<T: Display>(message: T) -> Self {
        Self::Value(message.to_string())
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Setting(missing(field))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        // What a text is not: the text itself stands in the sentence already.
        match found {
            Unexpected::Str(_) => Self::Value(format!("it has to be {expected}")),
            other => Self::Value(format!("it is {other}, but has to be {expected}")),
        }
    }
}

/// All settings.
pub(super) struct Settings<'a>(pub(super) &'a Config);

impl<'a> Settings<'a> {
    /// The settings of those names, or all, each name once.
    fn entries(self, fields: Option<&[&str]>) -> Entries<'a> {
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in &self.0.settings {
            let wanted = fields.is_none_or(|fields| fields.contains(&name.as_str()));
            if wanted && !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        Entries {
            config: self.0,
            names: names.into_iter(),
            current: "",
        }
    }
}

impl<'a> Deserializer<'a> for Settings<'a> {
    type Error = TypedError;

    /// A struct: its fields are the settings that are known. Others are not handed to it, so that
    /// `Config::finish` can name them.
    fn deserialize_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TypedError> {
        fields.iter().for_each(|name| self.0.know(name, false));
        visitor.visit_map(self.entries(Some(fields)))
    }

    /// A map, which takes whatever was given.
    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, TypedError> {
        self.0.knows_all.set(true);
        visitor.visit_map(self.entries(None))
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, TypedError> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        <V: Visitor<'a>>
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// Names and values, one after the other.
struct Entries<'a> {
    config: &'a Config,
    names: vec::IntoIter<&'a str>,
    current: &'a str,
}

impl<'a> MapAccess<'a> for Entries<'a> {
    type Error = TypedError;

    fn next_key_seed<K: DeserializeSeed<'a>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, TypedError> {
        let Some(name) = self.names.next() else {
            return Ok(None);
        };
        self.current = name;
        seed.deserialize(BorrowedStrDeserializer::new(name))
            .map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, TypedError> {
        let name = self.current;
        let texts: Vec<&str> = self.config.given(name).collect();
        let text = texts.first().copied().unwrap_or_default();
        let value = Value {
            config: self.config,
            name,
            texts,
        };
        seed.deserialize(value)
            .map_err(|error| error.about(name, text))
    }
}

/// What was given for one name: one text, or several.
struct Value<'a> {
    config: &'a Config,
    name: &'a str,
    texts: Vec<&'a str>,
}

impl<'a> Value<'a> {
    fn one(&self) -> Result<&'a str, TypedError> {
        match *self.texts {
            [only] => Ok(only),
            _ => Err(TypedError::Setting(given_twice(self.name))),
        }
    }

    fn parse<T: FromStr<Err: Display>>(&self) -> Result<T, TypedError> {
        self.one()?.trim().parse().map_err(de::Error::custom)
    }

    fn parts(self) -> Parts<'a> {
        let texts = self.texts.iter().filter(|text| !text.trim().is_empty());
        let parts: Vec<&str> = texts
            .flat_map(|text| text.split(',').map(str::trim))
            .collect();
        Parts {
            config: self.config,
            name: self.name,
            parts: parts.into_iter(),
        }
    }
}

macro_rules! parsed {
    ($($deserialize:ident => $visit:ident),+ $(,)?) => { $(
        fn $deserialize<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, TypedError> {
            visitor.$visit(self.parse()?)
        }
    )+ };
}

impl<'a> Deserializer<'a> for Value<'a> {
    type Error = TypedError;

    parsed! {
        deserialize_bool => visit_bool,
        deserialize_i8 => visit_i8,
        deserialize_i16 => visit_i16,
        deserialize_i32 => visit_i32,
        deserialize_i64 => visit_i64,
        deserialize_i128 => visit_i128,
        deserialize_u8 => visit_u8,
        deserialize_u16 => visit_u16,
        deserialize_u32 => visit_u32,
        deserialize_u64 => visit_u64,
        deserialize_u128 => visit_u128,
        deserialize_f32 => visit_f32,
        deserialize_f64 => visit_f64,
    }

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, TypedError> {
        visitor.visit_borrowed_str(self.one()?)
    }

    fn deserialize_bytes<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, TypedError> {
        visitor.visit_borrowed_bytes(self.one()?.as_bytes())
    }

    fn deserialize_byte_buf<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, TypedError> {
        self.deserialize_bytes(visitor)
    }

    /// What was given is there.
    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, TypedError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, TypedError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, TypedError> {
        self.config.may_repeat(self.name);
        visitor.visit_seq(self.parts())
    }

    fn deserialize_tuple<V: Visitor<'a>>(
        self,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, TypedError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'a>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, TypedError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TypedError> {
        let variant: StrDeserializer<'_, TypedError> = self.one()?.into_deserializer();
        visitor.visit_enum(variant)
    }

    forward_to_deserialize_any! {
        <V: Visitor<'a>>
        char str string unit unit_struct map struct identifier ignored_any
    }
}

/// The elements of a list.
struct Parts<'a> {
    config: &'a Config,
    name: &'a str,
    parts: vec::IntoIter<&'a str>,
}

impl<'a> SeqAccess<'a> for Parts<'a> {
    type Error = TypedError;

    fn next_element_seed<T: DeserializeSeed<'a>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, TypedError> {
        let Some(part) = self.parts.next() else {
            return Ok(None);
        };
        let element = Value {
            config: self.config,
            name: self.name,
            texts: vec![part],
        };
        seed.deserialize(element).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::config;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Deserialize, Debug, PartialEq)]
    #[serde(rename_all = "kebab-case")]
    struct Settings<'a> {
        field: &'a str,
        max_delay: Option<i64>,
        #[serde(default)]
        share: f32,
        #[serde(default)]
        strict: bool,
        #[serde(default)]
        sizes: Vec<u16>,
        #[serde(default)]
        mode: Mode,
        limit: Option<Limit>,
    }

    #[derive(Deserialize, Debug, Default, PartialEq)]
    #[serde(rename_all = "kebab-case")]
    enum Mode {
        #[default]
        KeepAll,
        DropAll,
    }

    #[derive(Deserialize, Debug, PartialEq)]
    struct Limit(u8);

    fn refused(settings: &[(&str, &str)]) -> String {
        let config = config(settings);
        let error = config.typed::<Settings<'_>>().unwrap_err();
        error.message().to_owned()
    }

    #[test]
    fn settings_of_every_kind_are_read() {
        let all = config(&[
            ("field", "a, b"),
            ("max-delay", "-7"),
            ("sizes", "1, 2"),
            ("share", "0.5"),
            ("strict", "true"),
            ("mode", "drop-all"),
            ("sizes", "3"),
            ("limit", "9"),
        ]);
        let settings: Settings<'_> = all.typed().unwrap();
        let expected = Settings {
            field: "a, b",
            max_delay: Some(-7),
            share: 0.5,
            strict: true,
            sizes: vec![1, 2, 3],
            mode: Mode::DropAll,
            limit: Some(Limit(9)),
        };
        assert_eq!(settings, expected);
        assert!(all.finish().is_ok());

        let few = config(&[("field", "a"), ("sizes", "")]);
        let settings: Settings<'_> = few.typed().unwrap();
        assert_eq!((settings.max_delay, settings.limit), (None, None));
        assert_eq!((settings.sizes, settings.mode), (vec![], Mode::KeepAll));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let field = ("field", "a");
        assert_eq!(
            refused(&[]),
            "setting `field` is missing: bind with --config field=…"
        );
        assert_eq!(refused(&[field, field]), "setting `field` was given twice");
        assert_eq!(
            refused(&[field, ("strict", "yes")]),
            "setting `strict=yes` is not understood: provided string was not `true` or `false`"
        );
        assert_eq!(
            refused(&[field, ("limit", "256")]),
            "setting `limit=256` is not understood: number too large to fit in target type"
        );
        assert_eq!(
            refused(&[field, ("sizes", "1,x")]),
            "setting `sizes=1,x` is not understood: invalid digit found in string"
        );
        assert_eq!(
            refused(&[field, ("mode", "keep")]),
            "setting `mode=keep` is not understood: unknown variant `keep`, expected `keep-all` or \
             `drop-all`"
        );
    }

    #[test]
    fn settings_that_no_field_reads_are_refused() {
        let config = config(&[("field", "a"), ("max_delay", "1")]);
        assert!(config.typed::<Settings<'_>>().is_ok());
        assert_eq!(
            config.finish().unwrap_err().message(),
            "setting `max_delay` is not known; this plugin's settings: field, max-delay, share, \
             strict, sizes, mode, limit"
        );
    }

    #[test]
    fn a_map_takes_everything() {
        let config = config(&[("a", "1"), ("b", "2")]);
        let map: BTreeMap<String, u8> = config.typed().unwrap();
        assert_eq!(
            map,
            BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)])
        );
        assert!(config.finish().is_ok());
    }

    #[test]
    fn a_setting_has_no_parts() {
        #[derive(Deserialize, Debug)]
        struct Outer {
            #[expect(dead_code, reason = "it is never made")]
            inner: Limits,
        }
        #[derive(Deserialize, Debug)]
        struct Limits {
            #[expect(dead_code, reason = "it is never made")]
            most: u8,
        }
        let error = config(&[("inner", "7")]).typed::<Outer>().unwrap_err();
        assert_eq!(
            error.message(),
            "setting `inner=7` is not understood: it has to be struct Limits"
        );
    }
}
