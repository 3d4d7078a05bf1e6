//! The real broker as a child process: started, killed by SIGKILL, started again on the same
//! directory and the same port, and never left behind.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::watch;

/// A broker is ready within that time, also on a machine that is busy with other tests.
const READY_MAX: Duration = Duration::from_secs(60);
/// Lines of the broker's log that are kept for the message of a failed test.
const LINES_MAX: usize = 60;
/// What the line begins with that names the address.
const ADDRESS: &str = "address";
/// Files that hold the largest batches.
const CONFIG: &str = "[log]\nwal_file_bytes = \"32MiB\"\n";
/// The smallest files there are, so that every run fills several, which go to segments and are
/// used again.
pub const SMALL_FILES: &str = "[log]\nwal_file_bytes = \"1MiB\"\nwal_bytes = \"4MiB\"\n\
                      segment_own_bytes = \"64KiB\"\n";

/// How the broker of a test runs.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The program.
    pub program: PathBuf,
    /// Environment variables: the test switches.
    pub switches: Vec<(&'static str, String)>,
    /// The configuration file.
    pub config: String,
}

impl Setup {
    /// The program as a user runs it.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            switches: Vec::new(),
            config: CONFIG.to_owned(),
        }
    }

    /// The same with a test switch on.
    #[must_use]
    pub fn with(mut self, switch: &'static str, value: impl Into<String>) -> Self {
        self.switches.push((switch, value.into()));
        self
    }

    /// The same with another configuration file.
    #[must_use]
    pub fn configured(mut self, config: impl Into<String>) -> Self {
        self.config = config.into();
        self
    }
}

/// A broker in a directory of its own.
#[derive(Debug)]
pub struct Process {
    setup: Setup,
    directory: TempDir,
    address: SocketAddr,
    running: Option<Running>,
    lines: Arc<Mutex<VecDeque<String>>>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    reader: Option<JoinHandle<()>>,
    /// Whether it has ended.
    ended: watch::Receiver<bool>,
}

impl Process {
    /// Starts a broker on a free port.
    #[must_use]
    pub fn start(setup: Setup) -> Self {
        let directory = tempfile::tempdir().expect("a test may make a directory");
        Self::start_in(setup, directory)
    }

    /// Starts a broker on what a directory holds below `data`, if anything.
    #[must_use]
    pub fn start_in(setup: Setup, directory: TempDir) -> Self {
        std::fs::write(directory.path().join("weir.toml"), &setup.config)
            .expect("a test may write into its directory");
        let mut process = Self {
            setup,
            directory,
            address: ([127, 0, 0, 1], 0).into(),
            running: None,
            lines: Arc::default(),
        };
        process.spawn();
        process
    }

    /// Where it listens: the same after every start.
    #[must_use]
    pub fn address(&self) -> String {
        format!("weir://{}", self.address)
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Turns switches on or off for the next start.
    pub fn set_switches(&mut self, switches: Vec<(&'static str, String)>) {
        self.setup.switches = switches;
    }

    /// Ends it as a power failure would, as far as a process can. Returns once it is gone.
    pub fn kill(&mut self) {
        drop(self.running.take());
    }

    /// Starts it again on the same directory and the same port.
    pub fn restart(&mut self) {
        self.kill();
        self.spawn();
    }

    /// As [`Process::restart`], for a broker that may be killed before it is ready: by a switch
    /// that is on. Answers whether it is ready.
    pub fn try_restart(&mut self) -> bool {
        self.kill();
        self.spawn_until(|said| matches!(said, Said::Ready(_)))
    }

    /// Returns once the process has ended, by itself or not.
    pub fn ended(&self) -> impl Future<Output = ()> + use<> {
        let ended = self.running.as_ref().map(|running| running.ended.clone());
        async move {
            if let Some(mut ended) = ended {
                // Whoever tells goes only with the process.
                let _ = ended.wait_for(|ended| *ended).await;
            }
        }
    }

    /// Whether the process has ended by itself.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let running = self.running.as_ref();
        running.is_none_or(|running| *running.ended.borrow())
    }

    /// The code that it ended with by itself; waits until it has.
    pub fn exit_code(&mut self) -> Option<i32> {
        let running = self.running.as_mut()?;
        running.child.wait().ok()?.code()
    }

    /// The last lines it wrote.
    #[must_use]
    pub fn last_lines(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(|line| format!("    {line}\n")).collect()
    }

    /// Starts it, and kills it as soon as it says anything: while it recovers.
    pub fn restart_in_vain(&mut self) {
        self.kill();
        self.spawn_until(|said| matches!(said, Said::Anything));
        self.kill();
    }

    fn spawn(&mut self) {
        if !self.spawn_until(|said| matches!(said, Said::Ready(_))) {
            panic!("the broker ends early; its log:\n{}", self.last_lines());
        }
    }

    /// Answers whether it got so far before it ended.
    fn spawn_until(&mut self, reached: fn(&Said) -> bool) -> bool {
        let path = self.directory.path();
        let mut child = self
            .command(path)
            .spawn()
            .unwrap_or_else(|error| panic!("{} starts: {error}", self.setup.program.display()));
        let stderr = child.stderr.take().expect("it was asked for");
        let (to_said, said) = mpsc::sync_channel(2);
        let lines = self.lines.clone();
        let (to_ended, ended) = watch::channel(false);
        let reader = std::thread::spawn(move || {
            read_lines(stderr, &lines, &to_said);
            to_ended.send_replace(true);
        });
        self.running = Some(Running {
            child,
            reader: Some(reader),
            ended,
        });
        loop {
            let said = match said.recv_timeout(READY_MAX) {
                Ok(said) => said,
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => {
                    panic!("the broker is not ready; its log:\n{}", self.last_lines())
                }
            };
            if let Said::Ready(address) = said {
                self.address = address;
            }
            if reached(&said) {
                return true;
            }
        }
    }

    fn command(&self, path: &Path) -> Command {
        let mut command = Command::new(&self.setup.program);
        command
            .arg("serve")
            .arg("--no-context")
            .arg("--data")
            .arg(path.join("data"))
            .arg("--config")
            .arg(path.join("weir.toml"))
            .arg("--listen")
            .arg(self.address.to_string())
            .env("XDG_CONFIG_HOME", path.join("config"))
            .env_remove("WEIR_VFS")
            .env_remove("WEIR_PLANT")
            .env_remove("WEIR_DROP_REPLIES")
            .env_remove("WEIR_KILL_AT")
            .env_remove("WEIR_FAIL_AT")
            .envs(
                self.setup
                    .switches
                    .iter()
                    .map(|(name, value)| (name, value)),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }
}

/// What a broker that starts lets know.
#[derive(Clone, Copy, Debug)]
enum Said {
    /// Its first line.
    Anything,
    /// It is ready, at that address.
    Ready(SocketAddr),
}

/// Keeps the last lines; tells when the first one came, and the address.
fn read_lines(stderr: ChildStderr, lines: &Mutex<VecDeque<String>>, said: &mpsc::SyncSender<Said>) {
    for (number, line) in BufReader::new(stderr).lines().enumerate() {
        // Whatever ends the reading, there is nothing more to be kept.
        let Ok(line) = line else { return };
        // There is room for both; nobody listens any more behind them.
        if number == 0 {
            let _ = said.try_send(Said::Anything);
        }
        if let Some(address) = announced(&line) {
            let _ = said.try_send(Said::Ready(address));
        }
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

fn announced(line: &str) -> Option<SocketAddr> {
    let rest = line.trim_start().strip_prefix(ADDRESS)?;
    rest.trim().strip_prefix("weir://")?.parse().ok()
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; waiting reaps it all the same.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::announced;

    #[test]
    fn finds_the_address() {
        let found = announced("  address   weir://127.0.0.1:4711");
        assert_eq!(found, Some(([127, 0, 0, 1], 4711).into()));
        assert_eq!(announced("  data      /tmp/x"), None);
        assert_eq!(announced("address unknown"), None);
    }
}
