//! Where a broker is: `weir://host:port`, or `host:port`; the port may be left out.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// The port of a broker that was told no other.
pub const DEFAULT_PORT: u16 = 7650;
const SCHEME: &str = "weir://";

/// The address of a broker, not yet resolved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BrokerAddress {
    host: String,
    port: u16,
}

/// Text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no broker address ({reason}); write weir://host:port")]
pub struct AddressError {
    text: String,
    reason: &'static str,
}

impl BrokerAddress {
    /// The host's name or address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The UDP port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for BrokerAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let error = |reason| AddressError {
            text: text.to_owned(),
            reason,
        };
        let rest = text.strip_prefix(SCHEME).unwrap_or(text);
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains("://") {
            return Err(error("another scheme than weir"));
        }
        let (host, port) = split(rest).ok_or_else(|| error("a bracket is not closed"))?;
        if host.is_empty() {
            return Err(error("it names no host"));
        }
        if host.contains(|c: char| c.is_whitespace() || matches!(c, '/' | '@' | '[' | ']')) {
            return Err(error("its host holds a character that no host name has"));
        }
        let port = match port {
            None => DEFAULT_PORT,
            Some(port) => port.parse().map_err(|_| error("its port is no number"))?,
        };
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

/// Splits host and port; an IPv6 address stands in brackets where a port follows.
fn split(text: &str) -> Option<(&str, Option<&str>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        return match rest.strip_prefix(':') {
            Some(port) => Some((host, Some(port))),
            None => rest.is_empty().then_some((host, None)),
        };
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Some((text, None));
    }
    Some(match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    })
}

impl fmt::Display for BrokerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::BrokerAddress;

    fn read(text: &str) -> String {
        match text.parse::<BrokerAddress>() {
            Ok(address) => address.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, address) in [
            ("weir://127.0.0.1:7650", "127.0.0.1:7650"),
            ("broker.example:9", "broker.example:9"),
            ("weir://localhost", "localhost:7650"),
            ("weir://localhost/", "localhost:7650"),
            ("[::1]:7651", "[::1]:7651"),
            ("[::1]", "[::1]:7650"),
            ("::1", "[::1]:7650"),
        ] {
            assert_eq!(read(text), address);
        }
    }

    #[test]
    fn what_is_no_address_says_why() {
        for (text, reason) in [
            ("", "names no host"),
            (":7650", "names no host"),
            ("localhost:x", "port is no number"),
            ("localhost:70000", "port is no number"),
            ("http://localhost:1", "another scheme"),
            ("[::1", "bracket"),
            ("a b:1", "character"),
        ] {
            let error = read(text);
            assert!(error.contains(reason), "{text:?} gave {error}");
        }
    }
}
