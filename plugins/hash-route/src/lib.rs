//! `hash-route`: spreads records over the declared routes by a hash, as a queue selector does.
//! Config `field=tailnum` (a top-level field of a JSON body) or `by=key` or `by=value` (the whole
//! bytes). What has nothing to hash takes the route that empty bytes take.

use weir_plugin::{Columns, Config, Error, Record, Route, RouteSet, Routes, json};

enum By {
    Key,
    Value,
    Field(String),
}

struct HashRoute {
    by: By,
    routes: u64,
}

impl Route for HashRoute {
    fn configure(config: &Config, routes: Routes, columns: &mut Columns) -> Result<Self, Error> {
        let by = match (config.optional("field"), config.optional("by")) {
            (Some(field), None) => By::Field(field.to_owned()),
            (None, Some("key")) => By::Key,
            (None, Some("value")) => By::Value,
            _ => return Err(Error::new("bind with one of field=NAME, by=key, by=value")),
        };
        if routes.is_empty() {
            return Err(Error::new(
                "no route is declared: bind with --to NAME=topic or a partition",
            ));
        }
        match by {
            By::Key => columns.key(),
            By::Value | By::Field(_) => columns.value(),
        };
        Ok(Self {
            by,
            routes: routes.len() as u64,
        })
    }

    fn route(&self, record: Record<'_>) -> Result<RouteSet, Error> {
        let hash = match &self.by {
            By::Key => hash(record.key().unwrap_or_default()),
            By::Value => hash(record.value().unwrap_or_default()),
            By::Field(field) => {
                let body = record.value().unwrap_or(b"{}");
                let text = json::field(body, field)?.and_then(json::Value::scalar);
                hash(text.unwrap_or_default().as_bytes())
            }
        };
        Ok(RouteSet::of((hash % self.routes) as usize))
    }
}

/// FNV-1a of 64 bits, then the finish of MurmurHash3, because FNV's low bits alone spread badly.
/// It never changes: records of one key must keep their route.
fn hash(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let mut hash: u64 = bytes.iter().fold(0xcbf2_9ce4_8422_2325, step);
    hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}

weir_plugin::export! { route: HashRoute }

#[cfg(test)]
mod tests {
    use super::{HashRoute, hash};
    use weir_plugin::testing::{Sample, route, value};

    const ROUTES: [&str; 5] = ["a", "b", "c", "d", "e"];

    #[test]
    fn equal_keys_share_a_route_whatever_they_are_read_from() {
        let by_key = route::<HashRoute>(&[("by", "key")], &ROUTES).unwrap();
        let by_value = route::<HashRoute>(&[("by", "value")], &ROUTES).unwrap();
        let by_field = route::<HashRoute>(&[("field", "k")], &ROUTES).unwrap();
        for number in 0..100 {
            let text = format!("N{number}");
            let chosen = by_key.route(Sample::new().key(text.as_str())).unwrap();
            assert_eq!(by_value.route(value(text.as_str())).unwrap(), chosen);
            let body = format!("{{\"k\":\"{text}\"}}");
            assert_eq!(by_field.route(value(body)).unwrap(), chosen);
        }
        let nothing = by_key.route(Sample::new()).unwrap();
        assert_eq!(by_field.route(value("{}")).unwrap(), nothing);
        assert!(by_field.route(value("no json")).is_err());
    }

    #[test]
    fn spreads_evenly_and_never_changes() {
        let mut counts = [0; 5];
        for number in 0..10_000 {
            counts[(hash(format!("N{number}").as_bytes()) % 5) as usize] += 1;
        }
        assert!(
            counts.iter().all(|count| (1_800..2_200).contains(count)),
            "{counts:?}"
        );
        assert_eq!(hash(b""), 0xefd0_1f60_ba99_2926);
        assert_eq!(hash(b"N14228"), hash(b"N14228"));
    }

    #[test]
    fn refuses_unclear_settings() {
        for settings in [
            &[][..],
            &[("by", "colour")],
            &[("by", "key"), ("field", "k")],
        ] {
            let error = route::<HashRoute>(settings, &ROUTES).map(drop).unwrap_err();
            assert_eq!(
                error.message(),
                "bind with one of field=NAME, by=key, by=value"
            );
        }
    }
}
