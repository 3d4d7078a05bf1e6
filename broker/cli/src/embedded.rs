//! A broker inside this process, for `demo` and `bench`: the real one, with real TLS, on a free
//! port and on threads of its own. It writes no context.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir_broker::config::Config;
use weir_broker::{Broker, StartOptions};
use weir_sdk::Client;

use crate::exit::{Exit, Failure};

/// More metrics than a broker has series for.
const METRICS_BYTES_MAX: u64 = 4 << 20;

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
            metrics: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
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

    /// Its metrics, as a scrape shows them.
    pub async fn metrics(&self) -> io::Result<String> {
        let address = self.broker.metrics_address();
        let address = address.ok_or(io::ErrorKind::NotConnected)?;
        let mut stream = TcpStream::connect(address).await?;
        let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await?;
        let mut answer = String::new();
        let mut limited = stream.take(METRICS_BYTES_MAX);
        limited.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    /// Ends it in good order.
    pub async fn stop(self) {
        self.broker.shutdown().await;
    }
}
