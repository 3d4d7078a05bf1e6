//! The hooks as traits: what an author implements.

use crate::{Batch, Columns, Config, Error, Record};
use std::borrow::Cow;

/// Keeps or drops records on their way to a subscriber: only what is kept crosses the network.
pub trait Filter: Sized + 'static {
    /// Reads the settings and asks for the columns that [`keep`](Self::keep) reads.
    ///
    /// # Errors
    /// If the settings make no sense; the message reaches the person who binds.
    fn configure(config: &Config, columns: &mut Columns) -> Result<Self, Error>;

    /// Whether the record is delivered.
    ///
    /// # Errors
    /// If it cannot be judged; the binding's error policy then decides about this record alone.
    fn keep(&self, record: Record<'_>) -> Result<bool, Error>;

    /// Judges a whole batch, one verdict per record. Implement it only to share work between
    /// records.
    ///
    /// # Errors
    /// If any record cannot be judged; the host finds out which.
    fn filter(&self, batch: &Batch<'_>) -> Result<Vec<bool>, Error> {
        let mut verdicts = Vec::with_capacity(batch.len());
        for record in batch {
            verdicts.push(self.keep(record)?);
        }
        Ok(verdicts)
    }
}

/// Chooses what records are ordered by: those with an equal key stay in order.
pub trait Key: Sized + 'static {
    /// Reads the settings and asks for the columns that [`key`](Self::key) reads.
    ///
    /// # Errors
    /// If the settings make no sense; the message reaches the person who binds.
    fn configure(config: &Config, columns: &mut Columns) -> Result<Self, Error>;

    /// The bytes of the ordering key, or `None` for a record that needs no order. A slice of the
    /// record costs no copy.
    ///
    /// # Errors
    /// If it cannot be told; the binding's error policy then decides about this record alone.
    fn key<'a>(&'a self, record: Record<'a>) -> Result<Option<Cow<'a, [u8]>>, Error>;
}

/// Chooses the destinations of records among the declared routes.
pub trait Route: Sized + 'static {
    /// Reads the settings and the declared routes (`--to name=…`, in order) and asks for the
    /// columns that [`route`](Self::route) reads.
    ///
    /// # Errors
    /// If they make no sense; the message reaches the person who binds.
    fn configure(config: &Config, routes: Routes, columns: &mut Columns) -> Result<Self, Error>;

    /// The routes that the record takes; the empty set drops it.
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
    }
}
