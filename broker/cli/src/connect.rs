//! Where to connect and whom to trust: flag, else environment, else the context of that address.

use std::path::PathBuf;
use std::time::Duration;

use weir_sdk::{Client, ConnectError};

use crate::address::Address;
use crate::context::Contexts;
use crate::environment::Environment;
use crate::exit::{Exit, Failure};
use crate::{runtime, time};

/// The flags that every verb with a broker takes.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ConnectArgs {
    /// The broker's address; else WEIR_BROKER, else the current context, else 127.0.0.1:7650
    #[arg(long, value_name = "ADDRESS", help_heading = "Connection")]
    pub broker: Option<Address>,
    /// File with the certificates to trust; else WEIR_CA, else the context of that address
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    pub ca: Option<PathBuf>,
    /// File with the token; else the token in WEIR_TOKEN, else the context of that address
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    pub token_file: Option<PathBuf>,
    /// How long to wait for an address to answer
    #[arg(
        long,
        value_name = "TIME",
        default_value = "3s",
        value_parser = time::parse_duration,
        help_heading = "Connection"
    )]
    pub connect_timeout: Duration,
}

/// A token: in a file, or at hand.
#[derive(Clone, PartialEq, Eq)]
pub enum Token {
    /// To be read when connecting.
    File(PathBuf),
    /// From the environment.
    Text(String),
}

/// Not the token itself: debug output ends in logs.
impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Text(_) => f.write_str("Text(…)"),
        }
    }
}

/// What to connect to, with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The address.
    pub address: Address,
    /// The certificates to trust.
    pub ca: Option<PathBuf>,
    /// The token to show.
    pub token: Option<Token>,
}

impl Target {
    /// Chooses address, CA and token, each from the first source that has it. A context gives its
    /// CA and token only for its own address.
    pub fn choose(args: &ConnectArgs, environment: &Environment) -> Result<Self, Failure> {
        let contexts = match &environment.contexts {
            Some(path) => {
                Contexts::load(path).map_err(|error| Failure::of(Exit::Failed, &error))?
            }
            None => Contexts::default(),
        };
        Self::resolve(args, environment, &contexts)
    }

    fn resolve(
        args: &ConnectArgs,
        environment: &Environment,
        contexts: &Contexts,
    ) -> Result<Self, Failure> {
        let from_environment = || match &environment.broker {
            Some(text) => text
                .parse::<Address>()
                .map(Some)
                .map_err(|error| Failure::usage(format!("WEIR_BROKER: {error}"))),
            None => Ok(None),
        };
        let given = match &args.broker {
            Some(address) => Some(address.clone()),
            None => from_environment()?,
        };
        let context = match &given {
            Some(address) => contexts.for_address(address),
            None => contexts
                .current()
                .or_else(|| contexts.for_address(&Address::default())),
        };
        let address = given
            .or_else(|| context.map(|context| context.address.clone()))
            .unwrap_or_default();
        let ca = args
            .ca
            .clone()
            .or_else(|| environment.ca.clone())
            .or_else(|| context.and_then(|context| context.ca.clone()));
        let token = args
            .token_file
            .clone()
            .map(Token::File)
            .or_else(|| environment.token.clone().map(Token::Text))
            .or_else(|| {
                let file = context.and_then(|context| context.token_file.clone());
                file.map(Token::File)
            });
        Ok(Self { address, ca, token })
    }
}

/// Connects as the flags, the environment and the contexts say.
pub async fn connect(args: &ConnectArgs) -> Result<Client, Failure> {
    let target = Target::choose(args, &Environment::read())?;
    let mut builder = Client::builder(target.address.to_string())
        .connect_timeout(args.connect_timeout)
        .client_name(concat!("weir ", env!("CARGO_PKG_VERSION")));
    builder = match &target.ca {
        Some(ca) => builder.ca_file(ca),
        None => builder.ca_pem(nobodys_ca()?),
    };
    builder = match &target.token {
        Some(Token::File(path)) => builder.token_file(path),
        Some(Token::Text(token)) => builder.token(token),
        None => builder,
    };
    match builder.connect().await {
        Ok(client) => {
            runtime::close_at_end(&client);
            Ok(client)
        }
        Err(ConnectError::Untrusted { .. }) if target.ca.is_none() => {
            Err(Failure::failed(format!(
                "a broker answers at {0}, but no CA is known to trust it by; give its ca.pem \
                 (--ca FILE, or weir context add NAME {0} --ca FILE --token-file FILE)",
                target.address
            )))
        }
        Err(error) => Err(error.into()),
    }
}

/// A CA that has signed nothing: without one to trust no broker is trusted, but whether one
/// answers at all can still be told.
fn nobodys_ca() -> Result<String, Failure> {
    rcgen::generate_simple_self_signed(["nobody".to_owned()])
        .map(|made| made.cert.pem())
        .map_err(|error| Failure::failed(format!("cannot prepare TLS: {error}")))
}

#[cfg(test)]
mod tests;
