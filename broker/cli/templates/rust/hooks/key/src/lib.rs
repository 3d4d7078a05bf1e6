//! `{{name}}`: orders records by a field of their JSON body, which the setting `field` names.

use std::borrow::Cow;

use weir_plugin::json::{self, Value};
use weir_plugin::{Columns, Config, Error, Key, Record};

struct Plugin {
    field: String,
}

impl Key for Plugin {
    fn configure(config: &Config, columns: &mut Columns) -> Result<Self, Error> {
        // Only the columns that are asked for here are copied into the plugin.
        columns.value();
        Ok(Self {
            field: config.require("field")?.to_owned(),
        })
    }

    fn key<'a>(&'a self, record: Record<'a>) -> Result<Option<Cow<'a, [u8]>>, Error> {
        let Some(body) = record.value() else {
            return Ok(None);
        };
        let found = json::field(body, &self.field)?.and_then(Value::scalar);
        Ok(found.map(|text| match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        }))
    }
}

weir_plugin::export! { key: Plugin }

#[cfg(test)]
mod tests {
    use super::Plugin;
    use weir_plugin::testing::{Sample, key, value};

    #[test]
    fn takes_the_field() {
        let plugin = key::<Plugin>(&[("field", "tailnum")]).unwrap();
        let found = plugin.key(value(r#"{"tailnum":"N14228"}"#)).unwrap();
        assert_eq!(found.as_deref(), Some(&b"N14228"[..]));
        assert_eq!(plugin.key(value("{}")).unwrap(), None);
        assert_eq!(plugin.key(Sample::new()).unwrap(), None);
    }

    #[test]
    fn a_body_that_is_no_json_is_an_error_of_that_record() {
        let plugin = key::<Plugin>(&[("field", "tailnum")]).unwrap();
        assert!(plugin.key(value("no json")).is_err());
    }
}
