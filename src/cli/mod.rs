//! The commands of the `mailroom` program.

pub mod demo;

/// Reads the arguments, runs the command, and says how it went as an exit code.
pub fn run() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
