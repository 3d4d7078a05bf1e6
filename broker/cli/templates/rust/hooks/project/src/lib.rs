//! `{{name}}`: hides a field of JSON bodies, which the setting `field` names, from a subscriber.
//! What is stored stays as it is.

use weir_plugin::{Columns, Config, Error, Project, Record, View, json};

/// What is seen instead, as JSON.
const MASK: &str = "\"***\"";

struct Plugin {
    field: String,
}

impl Project for Plugin {
    fn configure(config: &Config, columns: &mut Columns) -> Result<Self, Error> {
        // Only the columns that are asked for here are copied into the plugin. What stays
        // unchanged it need not ask for.
        columns.value();
        Ok(Self {
            field: config.require("field")?.to_owned(),
        })
    }

    fn project(&self, record: Record<'_>, view: &mut View<'_>) -> Result<(), Error> {
        let Some(body) = record.value() else {
            return Ok(());
        };
        if let Some(masked) = json::replace(body, &self.field, MASK)? {
            view.value(masked);
        }
        Ok(())
    }
}

weir_plugin::export! { project: Plugin }

#[cfg(test)]
mod tests {
    use super::Plugin;
    use weir_plugin::testing::{Sample, project, value};

    #[test]
    fn hides_the_field() {
        let plugin = project::<Plugin>(&[("field", "tailnum")]).unwrap();
        let seen = plugin.project(value(r#"{"flight":1,"tailnum":"N14228"}"#));
        assert_eq!(seen.unwrap(), value(r#"{"flight":1,"tailnum":"***"}"#));
    }

    #[test]
    fn leaves_other_records_as_they_are() {
        let plugin = project::<Plugin>(&[("field", "tailnum")]).unwrap();
        assert_eq!(plugin.project(value("{}")).unwrap(), value("{}"));
        assert_eq!(plugin.project(Sample::new()).unwrap(), Sample::new());
    }
}
