//! The context that `serve` writes for its own broker, and what it says to users of other
//! machines.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use weir_broker::data_dir::DataDir;
use weir_sdk::AddressError;

use crate::address::Address;
use crate::context::{Context, ContextError, Contexts};
use crate::environment::Environment;

/// What there is to connect to.
#[derive(Clone, Copy, Debug)]
pub struct Local<'a> {
    /// Where the broker listens.
    pub listen: SocketAddr,
    /// Its data directory.
    pub data_dir: &'a DataDir,
    /// The file with the certificates to trust.
    pub ca: &'a Path,
    /// Whether it asks for the token in its data directory.
    pub has_token: bool,
}

/// Why no context was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalContextError {
    /// The contexts cannot be read or written.
    #[error(transparent)]
    Contexts(#[from] ContextError),
    /// An address that no context can hold, such as one with a zone.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A file of the broker is gone.
    #[error("cannot find {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
}

/// Writes the context, and says what was written.
pub fn record(local: &Local<'_>, environment: &Environment) -> Result<String, LocalContextError> {
    let path = environment
        .contexts
        .as_deref()
        .ok_or(ContextError::NoPlace)?;
    let context = local.context()?;
    let (name, current) = Contexts::change(path, |contexts| {
        let name = contexts.record_local(context, is_live)?;
        Ok((name, contexts.current.clone()))
    })?;
    Ok(match current {
        Some(current) if current == name => format!("{name} (the current one)"),
        Some(current) => {
            format!("{name} (the current one is {current}; weir context use {name} changes that)")
        }
        None => name,
    })
}

impl Local<'_> {
    /// How programs on this machine reach the broker.
    pub fn address(&self) -> String {
        let host = match self.listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        format!("weir://{}", SocketAddr::new(host, self.listen.port()))
    }

    /// What users of other machines have to do.
    pub fn elsewhere(&self) -> String {
        let ip = self.listen.ip();
        if ip.is_loopback() {
            let port = self.listen.port();
            return format!(
                "this address is for this machine only; to be reached from others: weir serve \
                 --listen 0.0.0.0:{port}"
            );
        }
        let host = weir_broker::tls::host_name().filter(|_| ip.is_unspecified());
        let (name, host) = match (host, ip) {
            (Some(host), _) => (host.clone(), host),
            (None, IpAddr::V4(ip)) => (ip.to_string(), ip.to_string()),
            (None, IpAddr::V6(ip)) => ("broker".to_owned(), format!("[{ip}]")),
        };
        let port = self.listen.port();
        let ca = self.ca.display();
        let add = format!("weir context add {name} weir://{host}:{port} --ca ca.pem");
        if self.has_token {
            let token = self.data_dir.token();
            format!(
                "copy {ca} (as ca.pem) and {} (as token), then: {add} --token-file token",
                token.display()
            )
        } else {
            format!("copy {ca} (as ca.pem), then: {add}")
        }
    }

    fn context(&self) -> Result<Context, LocalContextError> {
        Ok(Context {
            address: self.address().parse::<Address>()?,
            ca: Some(canonical(self.ca)?),
            token_file: if self.has_token {
                Some(canonical(&self.data_dir.token())?)
            } else {
                None
            },
            data: Some(canonical(self.data_dir.root())?),
        })
    }
}

/// Whether the broker of a context runs: it holds the lock of its data directory. A context that
/// a person added says nothing of a data directory, and is left alone as if it did.
fn is_live(context: &Context) -> bool {
    match &context.data {
        Some(data) => DataDir::new(data).is_locked(&weir_log::RealVfs::new()),
        None => true,
    }
}

/// A context is used from any folder.
fn canonical(path: &Path) -> Result<PathBuf, LocalContextError> {
    std::fs::canonicalize(path).map_err(|source| LocalContextError::File {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests;
