//! A broker inside this process, for `demo` and `bench`: the real one, with real TLS, on a free
//! port and on threads of its own. It writes no context.

use std::net::SocketAddr;
use std::path::Path;

use weir_broker::config::Config;
use weir_broker::{Broker, StartOptions};
use weir_sdk::Client;

use crate::exit::{Exit, Failure};

/// The broker.
#[derive(Debug)]
pub struct Embedded {
    broker: Broker,
}

impl Embedded {
    /// Starts it over a data directory.
    pub async fn start(data: &Path) -> Result<Self, Failure> {
        let mut config = Config {
            data_dir: data.to_owned(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            ..Config::default()
        };
        // This file is part of `weir` alone, so the program that runs is the compiler.
        config.plugins.compiler = std::env::current_exe().ok();
        let broker = Broker::start(config, StartOptions::default())
            .await
            .map_err(|error| Failure::of(Exit::Failed, &error))?;
        Ok(Self { broker })
    }

    /// A client of it, with connections of its own.
    pub async fn connect(&self) -> Result<Client, Failure> {
        let mut builder = Client::builder(self.broker.address().to_string())
            .client_name(concat!("weir ", env!("CARGO_PKG_VERSION")))
            .ca_pem(self.broker.ca_pem());
        if let Some(token) = self.broker.token() {
            builder = builder.token(token);
        }
        Ok(builder.connect().await?)
    }

    /// Ends it in good order.
    pub async fn stop(self) {
        self.broker.shutdown().await;
    }
}
