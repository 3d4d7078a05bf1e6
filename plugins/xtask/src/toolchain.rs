//! Finds a toolchain that can build for WebAssembly, and runs it: rustup's target where it is
//! installed, else Debian's rustc with a standard library built on the spot.

use crate::Result;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-unknown-unknown";
/// Vector instructions; and a stack of 256 KiB instead of the linker's 1 MiB, all of which would be
/// memory of every instance.
const FLAGS: &str = "-C target-feature=+simd128 -C link-arg=-zstack-size=262144";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_LIBRARY: &str = "/usr/lib/rustlib/src/rust/library";

/// Where the compiler comes from.
pub enum Toolchain {
    /// rustup's, with the target's standard library.
    Rustup,
    /// Debian's packages rustc-web, cargo-web, rust-web-src, lld.
    Debian,
}

impl Toolchain {
    /// The first of the two that is installed.
    pub fn find() -> Result<Self> {
        if rustup_target_is_installed() {
            return Ok(Self::Rustup);
        }
        let debian = [DEBIAN_CARGO, DEBIAN_RUSTC, DEBIAN_LIBRARY];
        if debian.iter().all(|path| Path::new(path).exists()) {
            return Ok(Self::Debian);
        }
        Err(
            "no toolchain for WebAssembly: run `rustup target add wasm32-unknown-unknown`, or on \
             Debian `apt-get install rustc-web cargo-web rust-web-src lld`"
                .into(),
        )
    }

    /// Builds the packages; their modules are then at [`output`].
    pub fn build(&self, root: &Path, packages: &[&str]) -> Result<()> {
        let mut command = self.cargo_build(root);
        command.args(["--locked", "--profile", "plugin"]);
        for package in packages {
            command.args(["-p", package]);
        }
        run(&mut command)
    }

    /// Builds the package in a folder that is a workspace of its own; answers where the module is.
    pub fn build_folder(&self, folder: &Path, package: &str) -> Result<PathBuf> {
        run(self.cargo_build(folder).arg("--release"))?;
        let file = format!("{}.wasm", package.replace('-', "_"));
        Ok(folder
            .join("target")
            .join(TARGET)
            .join("release")
            .join(file))
    }

    fn cargo_build(&self, root: &Path) -> Command {
        let mut command = match self {
            Self::Rustup => Command::new("cargo"),
            Self::Debian => debian_cargo(),
        };
        command.current_dir(root).env("RUSTFLAGS", remapped(root));
        command.args(["build", "--quiet", "--target", TARGET]);
        command.arg("--target-dir").arg(root.join("target"));
        if let Self::Debian = self {
            command.arg("-Zbuild-std=std,panic_abort");
        }
        command
    }

    /// The compiler's version, for the manifest.
    pub fn version(&self) -> Result<String> {
        let rustc = match self {
            Self::Rustup => "rustc",
            Self::Debian => DEBIAN_RUSTC,
        };
        let output = Command::new(rustc).arg("--version").output()?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status()?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{command:?}: {status}").into())
    }
}

/// Where cargo puts the module of a package.
pub fn output(root: &Path, package: &str) -> PathBuf {
    let file = format!("{}.wasm", package.replace('-', "_"));
    root.join("target").join(TARGET).join("plugin").join(file)
}

fn rustup_target_is_installed() -> bool {
    let asked = ["--print", "target-libdir", "--target", TARGET];
    let Ok(output) = Command::new("rustc").args(asked).output() else {
        return false;
    };
    let directory = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success() && Path::new(&directory).is_dir()
}

/// Debian's cargo with Debian's rustc, whatever rustup has put on PATH and into the environment
/// (cargo sets RUSTUP_TOOLCHAIN, CARGO and RUSTC for what it runs, and it runs this).
fn debian_cargo() -> Command {
    let mut command = Command::new(DEBIAN_CARGO);
    command
        .env("PATH", "/usr/bin:/bin")
        .env("RUSTC", DEBIAN_RUSTC)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "wasm-ld")
        .env_remove("CARGO")
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("RUSTC_WRAPPER");
    command
}

/// Panic messages name source files; they must not name the machine they were built on.
fn remapped(root: &Path) -> String {
    let mut flags = format!("{FLAGS} --remap-path-prefix={}=plugins", root.display());
    let home = std::env::var("CARGO_HOME").ok().or_else(|| {
        let home = std::env::var("HOME").ok()?;
        Some(format!("{home}/.cargo"))
    });
    if let Some(home) = home {
        flags.push_str(&format!(" --remap-path-prefix={home}=cargo"));
    }
    flags
}
