//! The compiler alone, for tests of this crate and for brokers embedded without `weir`.

use std::process::ExitCode;

fn main() -> ExitCode {
    weir_host::compiler_main()
}
