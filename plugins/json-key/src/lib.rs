//! `json-key`: the ordering key is a top-level field of a JSON body. Config `field=tailnum`. A
//! string is its UTF-8, a number or truth value its JSON text; null and missing mean no key.

use std::borrow::Cow;
use weir_plugin::{Columns, Config, Error, Key, Record, json};

struct JsonKey {
    field: String,
}

impl Key for JsonKey {
    fn configure(config: &Config, columns: &mut Columns) -> Result<Self, Error> {
        columns.value();
        Ok(Self {
            field: config.require("field")?.to_owned(),
        })
    }

    fn key<'a>(&'a self, record: Record<'a>) -> Result<Option<Cow<'a, [u8]>>, Error> {
        let Some(body) = record.value() else {
            return Ok(None);
        };
        match json::field(body, &self.field)? {
            None | Some(json::Value::Null) => Ok(None),
            Some(value) => match value.scalar() {
                Some(Cow::Borrowed(text)) => Ok(Some(Cow::Borrowed(text.as_bytes()))),
                Some(Cow::Owned(text)) => Ok(Some(Cow::Owned(text.into_bytes()))),
                None => Err(Error::new(format!(
                    "field `{}` is an array or object, which cannot be a key",
                    self.field
                ))),
            },
        }
    }
}

weir_plugin::export! { key: JsonKey }

#[cfg(test)]
mod tests {
    use super::JsonKey;
    use weir_plugin::testing::{Sample, key, value};

    #[test]
    fn the_key_is_the_text_of_the_field() {
        let plugin = key::<JsonKey>(&[("field", "k")]).unwrap();
        let of = |body: &str| {
            plugin
                .key(value(body))
                .unwrap()
                .map(|k| String::from_utf8(k).unwrap())
        };
        assert_eq!(of(r#"{"k":"N14228"}"#).as_deref(), Some("N14228"));
        assert_eq!(of(r#"{"k":"a\u00e9\n"}"#).as_deref(), Some("aé\n"));
        assert_eq!(of(r#"{"k":""}"#).as_deref(), Some(""));
        assert_eq!(of(r#"{"k":1545}"#).as_deref(), Some("1545"));
        assert_eq!(of(r#"{"k":1.50e2}"#).as_deref(), Some("1.50e2"));
        assert_eq!(of(r#"{"k":true}"#).as_deref(), Some("true"));
        assert_eq!(of(r#"{"k":null}"#), None);
        assert_eq!(of(r#"{"other":1}"#), None);
        assert_eq!(plugin.key(Sample::new()).unwrap(), None);
    }

    #[test]
    fn what_has_no_text_is_an_error() {
        let plugin = key::<JsonKey>(&[("field", "k")]).unwrap();
        let error = plugin.key(value(r#"{"k":[1]}"#)).unwrap_err();
        assert_eq!(
            error.message(),
            "field `k` is an array or object, which cannot be a key"
        );
        let error = plugin.key(value("not json")).unwrap_err();
        assert!(
            error.message().starts_with("the body is not a JSON object"),
            "{error}"
        );
    }
}
