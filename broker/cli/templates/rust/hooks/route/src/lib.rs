//! `{{name}}`: sends a record to the route that is called like a field of its JSON body, which the
//! setting `field` names; to the route `*` if there is no such route.

use weir_plugin::json::{self, Value};
use weir_plugin::{Columns, Config, Error, Record, Route, RouteSet, Routes};

struct Plugin {
    field: String,
    routes: Routes,
}

impl Route for Plugin {
    fn configure(config: &Config, routes: Routes, columns: &mut Columns) -> Result<Self, Error> {
        // Only the columns that are asked for here are copied into the plugin.
        columns.value();
        Ok(Self {
            field: config.require("field")?.to_owned(),
            routes,
        })
    }

    fn route(&self, record: Record<'_>) -> Result<RouteSet, Error> {
        let body = record
            .value()
            .ok_or_else(|| Error::new("the record has no body"))?;
        let found = json::field(body, &self.field)?.and_then(Value::scalar);
        let named = found.and_then(|name| self.routes.named(name.as_bytes()));
        named
            .or_else(|| self.routes.named(b"*"))
            .ok_or_else(|| Error::new(format!("no route for this {}, and no `*`", self.field)))
    }
}

weir_plugin::export! { route: Plugin }

#[cfg(test)]
mod tests {
    use super::Plugin;
    use weir_plugin::testing::{Sample, route, value};

    #[test]
    fn takes_the_route_of_that_name() {
        let plugin = route::<Plugin>(&[("field", "origin")], &["JFK", "*"]).unwrap();
        assert_eq!(plugin.route(value(r#"{"origin":"JFK"}"#)).unwrap(), [0]);
        assert_eq!(plugin.route(value(r#"{"origin":"EWR"}"#)).unwrap(), [1]);
    }

    #[test]
    fn what_has_no_route_is_an_error_of_that_record() {
        let plugin = route::<Plugin>(&[("field", "origin")], &["JFK"]).unwrap();
        assert!(plugin.route(value(r#"{"origin":"EWR"}"#)).is_err());
        assert!(plugin.route(Sample::new()).is_err());
    }
}
