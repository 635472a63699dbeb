//! The `mailroom` program: see `mailroom --help`.

/// A third of what storing mail costs was the system's allocator. SQLite uses this one too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    mailroom::cli::run()
}
