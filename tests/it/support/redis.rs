//! Redis for tests: the run's own, shared by all, and a private one for tests that stop it.

use mailroom::cli::demo::private_server::{PrivateFolder, PrivateServer, find_program, free_ports};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Set by `tests/with-servers.sh`.
const VARIABLE: &str = "MAILROOM_TEST_REDIS";

/// The URL of the Redis that all tests of the run share. Its channels are shared too.
///
/// # Panics
/// When the tests were not started by `make test`.
pub fn shared_url() -> String {
    std::env::var(VARIABLE)
        .unwrap_or_else(|_| panic!("{VARIABLE} is not set: run the tests with `make test`."))
}

/// A Redis of one test's own, without persistence.
pub struct Redis {
    // Stopped before its folder goes.
    server: PrivateServer,
    folder: PrivateFolder,
    port: u16,
}

impl Redis {
    /// Starts one on a free loopback port.
    ///
    /// # Panics
    /// When Redis is not installed or does not start.
    pub fn start() -> Self {
        let folder = PrivateFolder::create("redis").unwrap();
        let [port] = free_ports().unwrap();
        let server = launch(&folder, port);
        Self {
            server,
            folder,
            port,
        }
    }

    /// For `REDIS_URL`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends it as a crash would; nothing answers at its port afterwards.
    pub fn kill(&mut self) {
        self.server.kill().unwrap();
    }

    /// Starts it again at the same port, empty.
    pub fn restart(&mut self) {
        self.server.stop();
        self.server = launch(&self.folder, self.port);
    }

    /// Holds it still without closing its connections; `resume` lets it go on.
    pub fn freeze(&self) {
        self.server.signal("STOP").unwrap();
    }

    /// Ends `freeze`.
    pub fn resume(&self) {
        self.server.signal("CONT").unwrap();
    }
}

fn launch(folder: &PrivateFolder, port: u16) -> PrivateServer {
    let program =
        find_program("redis-server").expect("redis-server is missing: `make test` installs it");
    let (port_text, path) = (
        port.to_string(),
        folder.path().to_string_lossy().into_owned(),
    );
    let arguments = [
        "--bind",
        "127.0.0.1",
        "--port",
        &port_text,
        "--save",
        "",
        "--appendonly",
        "no",
        "--dir",
        &path,
    ];
    let mut server =
        PrivateServer::start(&program, &arguments, &folder.path().join("log"), None).unwrap();
    server
        .wait_until(Duration::from_secs(20), || answers(port))
        .unwrap();
    server
}

fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    let mut heard = [0; 5];
    stream.write_all(b"PING\r\n").is_ok()
        && stream.read_exact(&mut heard).is_ok()
        && &heard == b"+PONG"
}

mod tests {
    use super::{Redis, answers, shared_url};

    #[test]
    fn a_private_redis_can_be_killed_and_comes_back() {
        let mut redis = Redis::start();
        assert!(answers(redis.port));
        redis.kill();
        assert!(!answers(redis.port));
        redis.restart();
        assert!(answers(redis.port));
        redis.freeze();
        redis.resume();
        assert!(answers(redis.port) && redis.url().ends_with(&redis.port.to_string()));
    }

    #[test]
    fn the_shared_redis_answers() {
        let url = shared_url();
        let port = url
            .rsplit(':')
            .next()
            .unwrap()
            .trim_end_matches('/')
            .parse()
            .unwrap();
        assert!(answers(port));
    }
}
