//! Connections: how one is made, what it carries, how its end is understood.

mod dial;
mod error;
mod lanes;
mod link;
mod slot;
mod stream;
mod tls;
mod transport;

pub use error::ConnectError;
pub use link::Welcomed;

pub(crate) use dial::Dialer;
pub(crate) use error::StreamError;
pub(crate) use lanes::{Lane, Route};
pub(crate) use link::Link;
pub(crate) use slot::Slot;
pub(crate) use stream::{FrameReader, fault};
pub(crate) use tls::Credentials;
#[cfg(feature = "limits")]
pub(crate) use tls::provider;
