//! A server that is far away: a proxy that holds every byte back for half a round trip, either way.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// Bytes that are taken at once.
const CHUNK: usize = 64 << 10;

/// Starts the proxy towards a loopback port; its own port. It runs until the process ends.
pub fn start(to: u16, round_trip: Duration) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let far = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).unwrap();
            for stream in [&near, &far] {
                stream.set_nodelay(true).unwrap();
            }
            carry(
                near.try_clone().unwrap(),
                far.try_clone().unwrap(),
                round_trip / 2,
            );
            carry(far, near, round_trip / 2);
        }
    });
    port
}

/// Carries bytes from one stream to the other, each chunk so long after it came.
fn carry(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let (under_way, arriving) = channel::<(Instant, Vec<u8>)>();
    std::thread::spawn(move || {
        let mut chunk = vec![0; CHUNK];
        while let Ok(count @ 1..) = from.read(&mut chunk) {
            if under_way
                .send((Instant::now() + delay, chunk[..count].to_vec()))
                .is_err()
            {
                return;
            }
        }
    });
    std::thread::spawn(move || {
        for (due, bytes) in arriving {
            // Nothing can be awaited here: time itself is what is played.
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                return;
            }
        }
        let _closed_already = to.shutdown(std::net::Shutdown::Write);
    });
}
