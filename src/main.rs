//! The `mailroom` program: see `mailroom --help`.

fn main() -> std::process::ExitCode {
    mailroom::cli::run()
}
