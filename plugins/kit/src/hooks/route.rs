//! The hook `route`, and sets of declared routes.

use crate::{Columns, Config, Error, Record};

/// Chooses the destinations of records among the declared routes.
///
/// ```
/// use weir_plugin::{Columns, Config, Error, Record, Route, RouteSet, Routes};
///
/// /// Tombstones to the route `deleted`, everything else to `*`.
/// struct BySurvival {
///     deleted: RouteSet,
///     others: RouteSet,
/// }
///
/// impl Route for BySurvival {
///     fn configure(_: &Config, routes: Routes, columns: &mut Columns) -> Result<Self, Error> {
///         columns.value();
///         Ok(Self { deleted: routes.require("deleted")?, others: routes.require("*")? })
///     }
///
///     fn route(&self, record: Record<'_>) -> Result<RouteSet, Error> {
///         Ok(if record.value().is_none() { self.deleted } else { self.others })
///     }
/// }
///
/// weir_plugin::export! { route: BySurvival }
///
/// # fn main() -> Result<(), Error> {
/// use weir_plugin::testing;
/// let plugin = testing::route::<BySurvival>(&[], &["deleted", "*"])?;
/// assert_eq!(plugin.route(testing::value("alive"))?, [1]);
/// assert_eq!(plugin.route(testing::Sample::new())?, [0]);
/// # Ok(())
/// # }
/// ```
pub trait Route: Sized + 'static {
    /// Reads the settings and the declared routes (`--to name=…`, in order) and asks for the
    /// columns that [`route`](Self::route) reads.
    ///
    /// # Errors
    /// If they make no sense; the message reaches the person who binds.
    fn configure(config: &Config, routes: Routes, columns: &mut Columns) -> Result<Self, Error>;

    /// The routes that the record takes, one, several or none; the empty set drops it.
    ///
    /// # Errors
    /// If it cannot be told; the binding's error policy then decides about this record alone.
    fn route(&self, record: Record<'_>) -> Result<RouteSet, Error>;
}

/// The declared routes of a binding, in order; at most 64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes(Vec<String>);

impl Routes {
    /// Wraps the declared names.
    #[must_use]
    pub fn new(names: Vec<String>) -> Self {
        Self(names)
    }

    /// How many routes are declared.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is declared.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The route of that name.
    #[inline]
    #[must_use]
    pub fn named(&self, name: &[u8]) -> Option<RouteSet> {
        let position = self
            .0
            .iter()
            .position(|declared| declared.as_bytes() == name)?;
        Some(RouteSet::of(position))
    }

    /// The route of that name.
    ///
    /// # Errors
    /// If it is not declared; the message says how to.
    pub fn require(&self, name: &str) -> Result<RouteSet, Error> {
        self.named(name.as_bytes()).ok_or_else(|| {
            Error::new(format!(
                "route `{name}` is not declared: bind with --to '{name}=TOPIC'"
            ))
        })
    }
}

/// A set of declared routes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteSet(u64);

impl RouteSet {
    /// No route: the record is dropped.
    pub const NONE: Self = Self(0);

    /// The route at that position among the declared ones, from 0.
    ///
    /// # Panics
    /// If the position is 64 or more: there are at most 64 routes.
    #[must_use]
    pub fn of(position: usize) -> Self {
        assert!(
            position < 64,
            "a binding has at most 64 routes, there is no route {position}"
        );
        Self(1 << position)
    }

    /// Both sets together: the record goes to each of them.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Bit i stands for route i.
    #[must_use]
    pub fn bits(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::{RouteSet, Routes};

    #[test]
    fn routes_are_found_by_name_and_united() {
        let routes = Routes::new(vec!["a".into(), "b".into()]);
        assert_eq!(routes.named(b"b"), Some(RouteSet::of(1)));
        assert_eq!(routes.named(b"c"), None);
        assert_eq!(RouteSet::of(0).and(RouteSet::of(1)).bits(), 3);
        assert_eq!(
            routes.require("c").unwrap_err().message(),
            "route `c` is not declared: bind with --to 'c=TOPIC'"
        );
    }
}
