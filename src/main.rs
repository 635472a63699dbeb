//! The `mailroom` program: see `mailroom --help`.

/// A third of what storing mail costs was the system's allocator. SQLite uses this one too. Without huge pages, which
/// made it hold a third more memory and were no faster.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    mailroom::cli::run()
}
