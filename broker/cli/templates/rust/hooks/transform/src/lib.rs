//! `{{name}}`: tags records with a field of their JSON body, which the setting `field` names, and
//! refuses records that do not have it.

use weir_plugin::json::{self, Value};
use weir_plugin::{Columns, Config, Error, Outputs, Record, Transform};

struct Plugin {
    field: String,
}

impl Transform for Plugin {
    fn configure(config: &Config, columns: &mut Columns) -> Result<Self, Error> {
        // Only the columns that are asked for here are copied into the plugin. What it passes on
        // unchanged it need not ask for.
        columns.value();
        Ok(Self {
            field: config.require("field")?.to_owned(),
        })
    }

    fn transform(&self, record: Record<'_>, out: &mut Outputs) -> Result<(), Error> {
        let body = record.value().unwrap_or_default();
        match json::field(body, &self.field)?.and_then(Value::scalar) {
            Some(text) => {
                out.push(record).header("tag", text.as_bytes());
            }
            None => out.reject(record, format!("it has no {}", self.field)),
        }
        Ok(())
    }
}

weir_plugin::export! { transform: Plugin }

#[cfg(test)]
mod tests {
    use super::Plugin;
    use weir_plugin::testing::{Transformed, transform, value};

    #[test]
    fn tags_records() {
        let plugin = transform::<Plugin>(&[("field", "carrier")]).unwrap();
        let body = r#"{"carrier":"UA"}"#;
        let expected = Transformed::Outputs(vec![value(body).header("tag", "UA")]);
        assert_eq!(plugin.transform(value(body)).unwrap(), expected);
    }

    #[test]
    fn refuses_records_without_the_field() {
        let plugin = transform::<Plugin>(&[("field", "carrier")]).unwrap();
        let expected = Transformed::Rejected("it has no carrier".to_owned());
        assert_eq!(plugin.transform(value("{}")).unwrap(), expected);
    }
}
