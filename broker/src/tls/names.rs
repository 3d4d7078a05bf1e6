//! The names that the broker's own certificate bears: everything by which this machine may be
//! called, and what the operator adds.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rustls::pki_types::DnsName;

use super::TlsError;
use crate::config::Config;

/// A set of names, in one spelling, so that sets can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names(BTreeSet<String>);

impl Names {
    pub(super) fn of(config: &Config) -> Result<Self, TlsError> {
        let mut names: BTreeSet<String> =
            ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
        let listen = config.listen.ip();
        if !listen.is_unspecified() {
            names.insert(listen.to_string());
        }
        // A host name that is none by DNS's rules (an underscore, say) cannot be connected to by
        // that name either.
        names.extend(host_name().as_deref().and_then(canonical));
        for name in &config.tls.names {
            let name = canonical(name).ok_or_else(|| TlsError::Name { name: name.clone() })?;
            names.insert(name);
        }
        Ok(Self(names))
    }

    pub(super) fn from_texts(names: impl IntoIterator<Item = String>) -> Self {
        Self(names.into_iter().collect())
    }

    pub(super) fn to_vec(&self) -> Vec<String> {
        self.0.iter().cloned().collect()
    }
}

/// The name of this machine.
#[must_use]
pub fn host_name() -> Option<String> {
    let system = rustix::system::uname();
    let name = system.nodename().to_str().ok()?;
    (!name.is_empty()).then(|| name.to_owned())
}

fn canonical(name: &str) -> Option<String> {
    if let Ok(address) = name.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Some(address.to_string());
    }
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    DnsName::try_from(name.clone()).is_ok().then_some(name)
}
