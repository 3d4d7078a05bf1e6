//! `fan-out-route`: a record takes one route by a field of its JSON body, and further ones by
//! conditions. Settings:
//!
//! - `field=origin`: the route whose declared name equals the field; what names none takes `*`,
//!   and without `*` it is an error of the record.
//! - `also=late:dep_delay > 15`: besides, the route `late` if the condition holds (see
//!   `condition`). May be given several times.

use condition::Condition;
use weir_plugin::json::{self, Value};
use weir_plugin::{Columns, Config, Error, Record, Route, RouteSet, Routes};

/// Conditions of a binding: one bit each.
const CONDITIONS_MAX: usize = 64;

struct FanOutRoute {
    field: String,
    routes: Routes,
    otherwise: Option<RouteSet>,
    also: Vec<(Condition, RouteSet)>,
}

impl Route for FanOutRoute {
    fn configure(config: &Config, routes: Routes, columns: &mut Columns) -> Result<Self, Error> {
        columns.value();
        let also = config.every("also").map(|text| also(text, &routes));
        let also = also.collect::<Result<Vec<_>, _>>()?;
        if also.len() > CONDITIONS_MAX {
            return Err(Error::new(format!(
                "setting `also` was given more than {CONDITIONS_MAX} times"
            )));
        }
        Ok(Self {
            field: config.require("field")?.to_owned(),
            otherwise: routes.named(b"*"),
            also,
            routes,
        })
    }

    fn route(&self, record: Record<'_>) -> Result<RouteSet, Error> {
        let body = record
            .value()
            .ok_or_else(|| Error::new("the record has no body"))?;
        let mut named = None;
        // One bit per condition. Of a repeated field the last one counts, so a bit can be taken
        // back again.
        let mut holds = 0_u64;
        json::each_field(body, |name, value| {
            if name.is(&self.field) {
                named = Some(value);
            }
            for (index, (condition, _)) in self.also.iter().enumerate() {
                if name.is(condition.field()) {
                    holds &= !(1 << index);
                    holds |= u64::from(condition.matches(value)) << index;
                }
            }
        })?;
        let taken = self.also.iter().enumerate();
        let taken = taken.filter(|(index, _)| holds >> index & 1 == 1);
        let also = taken.fold(RouteSet::NONE, |set, (_, (_, route))| set.and(*route));
        Ok(self.by_name(named)?.and(also))
    }
}

impl FanOutRoute {
    fn by_name(&self, value: Option<Value<'_>>) -> Result<RouteSet, Error> {
        let name = value.and_then(Value::scalar);
        let route = name
            .as_ref()
            .and_then(|name| self.routes.named(name.as_bytes()));
        route.or(self.otherwise).ok_or_else(|| {
            let field = &self.field;
            Error::new(match name {
                Some(name) => format!("no route is declared for {field} = {name:?}, nor `*`"),
                None => format!("the record has no {field}, and no route `*` is declared"),
            })
        })
    }
}

fn also(text: &str, routes: &Routes) -> Result<(Condition, RouteSet), Error> {
    let wrong = |why: &dyn std::fmt::Display| {
        Error::new(format!("setting `also={text}` is not understood: {why}"))
    };
    let (route, condition) = text
        .split_once(':')
        .ok_or_else(|| wrong(&"write ROUTE:CONDITION, for example late:dep_delay > 15"))?;
    let condition = condition
        .parse()
        .map_err(|error: condition::ConditionError| wrong(&error))?;
    Ok((condition, routes.require(route.trim())?))
}

weir_plugin::export! { route: FanOutRoute }

#[cfg(test)]
mod tests {
    use super::FanOutRoute;
    use weir_plugin::testing::{Sample, route, value};

    const ROUTES: [&str; 4] = ["EWR", "late", "*", "far"];

    #[test]
    fn takes_the_named_route_and_those_whose_conditions_hold() {
        for (also, expected) in [
            (
                &["late:dep_delay > 15"][..],
                [vec![0, 1], vec![0], vec![1, 2], vec![2]],
            ),
            (
                &["late:dep_delay > 15", "far: distance >= 1000"],
                [vec![0, 1], vec![0, 3], vec![1, 2], vec![2]],
            ),
            (&[], [vec![0], vec![0], vec![2], vec![2]]),
        ] {
            let mut settings = vec![("field", "origin")];
            settings.extend(also.iter().map(|also| ("also", *also)));
            let plugin = route::<FanOutRoute>(&settings, &ROUTES).unwrap();
            let bodies = [
                r#"{"origin":"EWR","dep_delay":16,"distance":999}"#,
                r#"{"origin":"EWR","dep_delay":null,"distance":1000}"#,
                r#"{"origin":"JFK","dep_delay":100}"#,
                "{}",
            ];
            let taken = bodies.map(|body| plugin.route(value(body)).unwrap());
            assert_eq!(taken, expected, "{also:?}");
        }
    }

    #[test]
    fn what_has_no_route_is_an_error_of_the_record() {
        let settings = [("field", "origin"), ("also", "late:dep_delay > 15")];
        let plugin = route::<FanOutRoute>(&settings, &["EWR", "late"]).unwrap();
        let error = |sample| plugin.route(sample).unwrap_err().message().to_owned();
        assert_eq!(
            error(value(r#"{"origin":"JFK","dep_delay":99}"#)),
            "no route is declared for origin = \"JFK\", nor `*`"
        );
        assert_eq!(
            error(value("{}")),
            "the record has no origin, and no route `*` is declared"
        );
        assert_eq!(error(Sample::new()), "the record has no body");
        assert!(error(value("{")).starts_with("the body is not a JSON object"));
    }

    #[test]
    fn refuses_conditions_it_cannot_use() {
        let refused = |also| {
            let settings = [("field", "origin"), ("also", also)];
            let error = route::<FanOutRoute>(&settings, &ROUTES)
                .map(drop)
                .unwrap_err();
            error.message().to_owned()
        };
        assert_eq!(
            refused("late"),
            "setting `also=late` is not understood: write ROUTE:CONDITION, for example \
             late:dep_delay > 15"
        );
        assert!(refused("late:dep_delay >").contains("nothing to compare `dep_delay` with"));
        assert_eq!(
            refused("soon:a = 1"),
            "route `soon` is not declared: bind with --to 'soon=TOPIC'"
        );
    }
}
