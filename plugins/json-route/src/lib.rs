//! `json-route`: the route whose declared name equals a top-level field of a JSON body. Config
//! `field=origin`. What names no declared route takes `*`; without `*` it is an error.

use weir_plugin::{Columns, Config, Error, Record, Route, RouteSet, Routes, json};

struct JsonRoute {
    field: String,
    routes: Routes,
    otherwise: Option<RouteSet>,
}

impl Route for JsonRoute {
    fn configure(config: &Config, routes: Routes, columns: &mut Columns) -> Result<Self, Error> {
        columns.value();
        if routes.is_empty() {
            return Err(Error::new(
                "no route is declared: bind with --to VALUE=topic",
            ));
        }
        let otherwise = routes.named(b"*");
        Ok(Self {
            field: config.require("field")?.to_owned(),
            routes,
            otherwise,
        })
    }

    fn route(&self, record: Record<'_>) -> Result<RouteSet, Error> {
        let found = match record.value() {
            Some(body) => json::field(body, &self.field)?.and_then(json::Value::scalar),
            None => None,
        };
        let named = found
            .as_ref()
            .and_then(|name| self.routes.named(name.as_bytes()));
        named.or(self.otherwise).ok_or_else(|| {
            let field = &self.field;
            Error::new(match found {
                Some(name) => format!("no route is declared for {field} = {name:?}, nor `*`"),
                None => format!("the record has no {field}, and no route `*` is declared"),
            })
        })
    }
}

weir_plugin::export! { route: JsonRoute }

#[cfg(test)]
mod tests {
    use super::JsonRoute;
    use weir_plugin::testing::{Sample, route, value};

    #[test]
    fn routes_by_the_name_and_else_to_the_star() {
        let plugin = route::<JsonRoute>(&[("field", "o")], &["JFK", "*", "7", "true"]).unwrap();
        let of = |body: &str| plugin.route(value(body)).unwrap();
        assert_eq!(of(r#"{"o":"JFK"}"#), [0]);
        assert_eq!(of(r#"{"o":"EWR"}"#), [1]);
        assert_eq!(of(r#"{"o":7}"#), [2]);
        assert_eq!(of(r#"{"o":true}"#), [3]);
        assert_eq!(of(r#"{"o":null}"#), [1]);
        assert_eq!(of(r#"{"o":{"JFK":1}}"#), [1]);
        assert_eq!(of("{}"), [1]);
        assert_eq!(plugin.route(Sample::new()).unwrap(), [1]);
    }

    #[test]
    fn without_a_star_a_value_without_route_is_an_error() {
        let plugin = route::<JsonRoute>(&[("field", "o")], &["JFK"]).unwrap();
        let error = plugin.route(value(r#"{"o":"EWR"}"#)).unwrap_err();
        assert_eq!(
            error.message(),
            "no route is declared for o = \"EWR\", nor `*`"
        );
        let error = plugin.route(value("{}")).unwrap_err();
        assert_eq!(
            error.message(),
            "the record has no o, and no route `*` is declared"
        );
        assert!(plugin.route(value("{")).is_err());
    }

    #[test]
    fn refuses_a_binding_without_routes() {
        let error = route::<JsonRoute>(&[("field", "o")], &[])
            .map(drop)
            .unwrap_err();
        assert!(error.message().contains("no route is declared"), "{error}");
    }
}
