//! What the repository promises about itself.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of tests unwrap as tests do"
)]

mod layers;
mod licences;
mod links;
mod metadata;
mod sources;
