//! Broker addresses as contexts hold them: `weir://host:port`, compared in one spelling.

use std::fmt;
use std::str::FromStr;

use weir_sdk::{AddressError, BrokerAddress, DEFAULT_PORT};

/// Where a broker listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(BrokerAddress);

impl Default for Address {
    /// Where `weir serve` listens when nobody tells it otherwise.
    fn default() -> Self {
        let text = format!("127.0.0.1:{DEFAULT_PORT}");
        text.parse().expect("a literal address is one")
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        text.to_ascii_lowercase().parse().map(Self)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "weir://{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling() {
        for (text, expected) in [
            ("weir://127.0.0.1:7650", "weir://127.0.0.1:7650"),
            ("Broker.Example:99", "weir://broker.example:99"),
            ("WEIR://broker", "weir://broker:7650"),
            ("[::1]:8000", "weir://[::1]:8000"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), expected);
        }
        assert!("http://broker".parse::<Address>().is_err());
    }
}
