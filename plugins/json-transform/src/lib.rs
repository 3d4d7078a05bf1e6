//! `json-transform`: changes records with a JSON object as their body. Settings, all optional, but
//! one is needed:
//!
//! - `key_from=tailnum`: the record's key becomes the text of that field; null and missing leave
//!   the record without a key.
//! - `mask=tailnum,name`: the values of these fields become `"***"`, or the text of `mask_with`;
//!   null stays null.
//! - `reject_if_null=dep_delay`: records in which one of these fields is null or missing are
//!   rejected.
//!
//! Everything else of the body stays as it was written. A body that is not a JSON object is an
//! error of its record.

use serde::Deserialize;
use std::borrow::Cow;
use weir_plugin::json::{self, Edit, Text, Value};
use weir_plugin::{Columns, Config, Error, Outputs, Record, Transform};

/// Fields that `reject_if_null` may name: one bit each.
const NEEDED_MAX: usize = 128;

#[derive(Deserialize)]
struct Settings {
    key_from: Option<String>,
    #[serde(default)]
    mask: Vec<String>,
    mask_with: Option<String>,
    #[serde(default)]
    reject_if_null: Vec<String>,
}

struct JsonTransform {
    key_from: Option<String>,
    mask: Vec<String>,
    /// The mask as a JSON string.
    masked: String,
    needed: Vec<String>,
}

impl Transform for JsonTransform {
    fn configure(config: &Config, columns: &mut Columns) -> Result<Self, Error> {
        columns.value();
        let settings: Settings = config.typed()?;
        if settings.reject_if_null.len() > NEEDED_MAX {
            return Err(Error::new(format!(
                "setting `reject_if_null` names more than {NEEDED_MAX} fields"
            )));
        }
        if settings.mask_with.is_some() && settings.mask.is_empty() {
            return Err(Error::new("setting `mask_with` needs `mask=FIELD`"));
        }
        let plugin = Self {
            key_from: settings.key_from,
            mask: settings.mask,
            masked: json::quoted(settings.mask_with.as_deref().unwrap_or("***")),
            needed: settings.reject_if_null,
        };
        if plugin.key_from.is_none() && plugin.mask.is_empty() && plugin.needed.is_empty() {
            return Err(Error::new(
                "bind with at least one of key_from=FIELD, mask=FIELD, reject_if_null=FIELD",
            ));
        }
        Ok(plugin)
    }

    fn transform(&self, record: Record<'_>, out: &mut Outputs) -> Result<(), Error> {
        let body = record
            .value()
            .ok_or_else(|| Error::new("the record has no body"))?;
        let mut seen = Seen::default();
        let mut output = out.push(record);
        if self.mask.is_empty() {
            json::each_field(body, |name, value| seen.take(self, name, value))?;
        } else {
            output.write_value(|buffer| {
                json::rewrite(body, buffer, |name, value| {
                    seen.take(self, name, value);
                    self.edit(name, value)
                })
            })?;
        }
        if self.key_from.is_some() {
            match self.key_of(&seen)? {
                Some(key) => output.key(key.as_bytes()),
                None => output.remove_key(),
            };
        }
        let missing = |index: &usize| seen.present >> index & 1 == 0;
        if let Some(index) = (0..self.needed.len()).find(missing) {
            let field = &self.needed[index];
            out.reject(record, format!("{field} is null or missing"));
        }
        Ok(())
    }
}

/// What one pass over a body finds.
#[derive(Default)]
struct Seen<'a> {
    key: Option<Value<'a>>,
    /// Bit i: the i-th field that is needed is there and not null.
    present: u128,
}

impl<'a> Seen<'a> {
    fn take(&mut self, plugin: &JsonTransform, name: Text<'a>, value: Value<'a>) {
        if plugin
            .key_from
            .as_deref()
            .is_some_and(|field| name.is(field))
        {
            self.key = Some(value);
        }
        for (index, field) in plugin.needed.iter().enumerate() {
            if name.is(field) {
                self.present &= !(1 << index);
                self.present |= u128::from(value != Value::Null) << index;
            }
        }
    }
}

impl JsonTransform {
    fn edit(&self, name: Text<'_>, value: Value<'_>) -> Edit<'_> {
        if value != Value::Null && self.mask.iter().any(|field| name.is(field)) {
            Edit::Replace(Cow::Borrowed(&self.masked))
        } else {
            Edit::Keep
        }
    }

    fn key_of<'a>(&self, seen: &Seen<'a>) -> Result<Option<Cow<'a, str>>, Error> {
        match seen.key {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value.scalar().map(Some).ok_or_else(|| {
                let field = self.key_from.as_deref().unwrap_or_default();
                Error::new(format!(
                    "field `{field}` is an array or object, which cannot be a key"
                ))
            }),
        }
    }
}

weir_plugin::export! { transform: JsonTransform }

#[cfg(test)]
mod tests {
    use super::JsonTransform;
    use weir_plugin::testing::{Sample, Transformed, transform, value};

    fn one(sample: Sample) -> Transformed {
        Transformed::Outputs(vec![sample])
    }

    #[test]
    fn copies_the_key_masks_the_field_and_rejects_what_lacks_another() {
        let settings = [
            ("key_from", "tailnum"),
            ("mask", "tailnum"),
            ("reject_if_null", "dep_delay"),
        ];
        let plugin = transform::<JsonTransform>(&settings).unwrap();
        let of = |body: &str| plugin.transform(value(body)).unwrap();
        assert_eq!(
            of(r#"{"tailnum":"N14228", "dep_delay":2}"#),
            one(value(r#"{"tailnum":"***", "dep_delay":2}"#).key("N14228"))
        );
        assert_eq!(
            of(r#"{"tailnum":null,"dep_delay":2}"#),
            one(value(r#"{"tailnum":null,"dep_delay":2}"#))
        );
        let rejected = Transformed::Rejected("dep_delay is null or missing".to_owned());
        assert_eq!(of(r#"{"tailnum":"N1","dep_delay":null}"#), rejected);
        assert_eq!(of(r#"{"tailnum":"N1"}"#), rejected);
        // Of a repeated name the last counts, and all are masked.
        assert_eq!(
            of(r#"{"tailnum":"a","tailnum":"b","dep_delay":null,"dep_delay":1}"#),
            one(
                value(r#"{"tailnum":"***","tailnum":"***","dep_delay":null,"dep_delay":1}"#)
                    .key("b")
            )
        );
    }

    #[test]
    fn does_only_what_is_asked_for() {
        let with = |settings: &[(&str, &str)], sample: Sample| {
            let plugin = transform::<JsonTransform>(settings).unwrap();
            plugin.transform(sample).unwrap()
        };
        let body = || {
            value(r#"{"a":"x","b":[1],"c":7}"#)
                .key("old")
                .header("h", "v")
        };
        assert_eq!(with(&[("key_from", "c")], body()), one(body().key("7")));
        let keyless = value(r#"{"a":"x","b":[1],"c":7}"#).header("h", "v");
        assert_eq!(with(&[("key_from", "none")], body()), one(keyless));
        assert_eq!(with(&[("reject_if_null", "a,b")], body()), one(body()));
        assert_eq!(
            with(&[("mask", "a, b"), ("mask_with", "\"")], body()),
            one(value(r#"{"a":"\"","b":"\"","c":7}"#)
                .key("old")
                .header("h", "v"))
        );
    }

    #[test]
    fn what_cannot_be_read_is_an_error_of_the_record() {
        let plugin = transform::<JsonTransform>(&[("key_from", "k"), ("mask", "k")]).unwrap();
        let error = |sample| plugin.transform(sample).unwrap_err().message().to_owned();
        assert_eq!(error(Sample::new()), "the record has no body");
        assert!(error(value("[1]")).starts_with("the body is not a JSON object"));
        assert_eq!(
            error(value(r#"{"k":{}}"#)),
            "field `k` is an array or object, which cannot be a key"
        );
    }

    #[test]
    fn refuses_settings_that_do_nothing() {
        let refused = |settings: &[(&str, &str)]| {
            let error = transform::<JsonTransform>(settings).map(drop).unwrap_err();
            error.message().to_owned()
        };
        assert!(refused(&[]).starts_with("bind with at least one of key_from=FIELD"));
        assert_eq!(
            refused(&[("key_from", "a"), ("mask_with", "x")]),
            "setting `mask_with` needs `mask=FIELD`"
        );
        assert_eq!(
            refused(&[("key_from", "a"), ("masc", "a")]),
            "setting `masc` is not known; this plugin's settings: key_from, mask, mask_with, \
             reject_if_null"
        );
    }
}
