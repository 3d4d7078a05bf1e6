//! Numbers that only the log knows.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// Wraps the number.
            #[must_use]
            pub const fn new(value: u64) -> Self {
                Self(value)
            }

            /// The plain number.
            #[must_use]
            pub const fn value(self) -> u64 {
                self.0
            }

            /// The number after this one.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// The node a data directory belongs to: a random number, chosen when it is created.
    NodeId
}
number! {
    /// A block's number in the WAL, from 1; 0 stands for "none yet".
    Lsn
}
number! {
    /// A WAL file's number, from 1.
    FileSequence
}
number! {
    /// Random; stands in a WAL file's header and in each of its blocks.
    Nonce
}
number! {
    /// A segment's number, from 1. Never reused.
    SegmentId
}
number! {
    /// A manifest's number, from 1. The newest counts.
    Generation
}
