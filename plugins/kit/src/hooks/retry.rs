//! The hook `retry-policy`.

use crate::{Columns, Config, Error, Record};
use std::time::Duration;

/// Decides what happens to a record whose delivery failed: when it is tried again, or whether it is
/// given up.
///
/// ```
/// use std::time::Duration;
/// use weir_plugin::{Columns, Config, Decision, Error, Failure, Record, RetryPolicy};
///
/// /// Twice more, a second apart.
/// struct Thrice;
///
/// impl RetryPolicy for Thrice {
///     fn configure(_: &Config, _: &mut Columns) -> Result<Self, Error> {
///         Ok(Self)
///     }
///
///     fn decide(&self, _: Record<'_>, failure: &Failure<'_>) -> Result<Decision, Error> {
///         Ok(match failure.attempt {
///             1 | 2 => Decision::Delay(Duration::from_secs(1)),
///             _ => Decision::DeadLetter,
///         })
///     }
/// }
///
/// weir_plugin::export! { retry_policy: Thrice }
///
/// # fn main() -> Result<(), Error> {
/// use weir_plugin::testing;
/// let plugin = testing::retry_policy::<Thrice>(&[])?;
/// let failed = |attempt| Failure { attempt, message: "no answer" };
/// let again = Decision::Delay(Duration::from_secs(1));
/// assert_eq!(plugin.decide(testing::value("x"), failed(2))?, again);
/// assert_eq!(plugin.decide(testing::value("x"), failed(3))?, Decision::DeadLetter);
/// # Ok(())
/// # }
/// ```
pub trait RetryPolicy: Sized + 'static {
    /// Reads the settings and asks for the columns that [`decide`](Self::decide) reads.
    ///
    /// # Errors
    /// If the settings make no sense; the message reaches the person who binds.
    fn configure(config: &Config, columns: &mut Columns) -> Result<Self, Error>;

    /// What happens to the record.
    ///
    /// # Errors
    /// If it cannot be told; the group's own policy then decides about this record.
    fn decide(&self, record: Record<'_>, failure: &Failure<'_>) -> Result<Decision, Error>;
}

/// How a delivery failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure<'a> {
    /// Which delivery of the record it was, from 1.
    pub attempt: u32,
    /// What the consumer said, or that its time was up.
    pub message: &'a str,
}

/// What happens to a record whose delivery failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is delivered again after that time, in whole milliseconds.
    Delay(Duration),
    /// It is given up and goes to the dead letters.
    DeadLetter,
    /// It is given up for now, with all records of its ordering key behind it.
    ParkKey,
}
