//! The connection itself: plain or encrypted, and compressed where the server can (COMPRESS=DEFLATE, RFC 4978).
//! Not for: lines and answers (that is `wire`).

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use rustls::{ClientConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::TcpStream;

/// What is read at once of a compressed stream. What comes out is bounded by the reader's buffer, whatever goes in: a
/// server can't make memory grow.
const PACKED_BYTES: usize = 16 * 1024;

/// How bytes go over the network.
enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// The connection.
pub(super) struct Link {
    stream: Stream,
    packing: Option<Box<Packing>>,
}

/// The two sides of a compressed stream.
struct Packing {
    inflate: Decompress,
    deflate: Compress,
    /// Bytes that came and are not unpacked yet.
    came: Vec<u8>,
    start: usize,
    /// The last unpacking filled its buffer: there may be more without another byte coming.
    has_more: bool,
}

impl Link {
    pub(super) const fn plain(socket: TcpStream) -> Self {
        Self {
            stream: Stream::Plain(socket),
            packing: None,
        }
    }

    pub(super) fn tls(stream: StreamOwned<ClientConnection, TcpStream>) -> Self {
        Self {
            stream: Stream::Tls(Box::new(stream)),
            packing: None,
        }
    }

    pub(super) fn socket(&self) -> &TcpStream {
        match &self.stream {
            Stream::Plain(socket) => socket,
            Stream::Tls(stream) => stream.get_ref(),
        }
    }

    /// The bare socket; `None` where it is encrypted.
    pub(super) fn into_plain(self) -> Option<TcpStream> {
        match self.stream {
            Stream::Plain(socket) => Some(socket),
            Stream::Tls(_) => None,
        }
    }

    /// Everything is compressed from here on, both ways; `came` has come in already.
    pub(super) fn compress(&mut self, came: Vec<u8>) {
        // Without a header, as the RFC wants it.
        self.packing = Some(Box::new(Packing {
            inflate: Decompress::new(false),
            deflate: Compress::new(Compression::fast(), false),
            came,
            start: 0,
            has_more: false,
        }));
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(into),
            Self::Tls(stream) => stream.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(from),
            Self::Tls(stream) => stream.write(from),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

impl Packing {
    fn read(&mut self, stream: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            if self.start == self.came.len() && !self.has_more {
                self.came.resize(PACKED_BYTES, 0);
                let count = stream.read(&mut self.came);
                // After a time-out nothing has come, and nothing is lost.
                self.came.truncate(*count.as_ref().unwrap_or(&0));
                self.start = 0;
                if count? == 0 {
                    return Ok(0);
                }
            }
            let packed = self.came.get(self.start..).unwrap_or_default();
            let (before_in, before_out) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self
                .inflate
                .decompress(packed, into, FlushDecompress::None)
                .map_err(|_bad| io::Error::from(io::ErrorKind::InvalidData))?;
            let taken = between(before_in, self.inflate.total_in());
            let given = between(before_out, self.inflate.total_out());
            self.start = self.start.saturating_add(taken);
            self.has_more = given == into.len();
            if given > 0 {
                return Ok(given);
            }
            if status == Status::StreamEnd {
                return Ok(0);
            }
            if taken == 0 && self.start < self.came.len() {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
    }

    fn packed(&mut self, from: &[u8]) -> io::Result<Vec<u8>> {
        let mut packed = Vec::with_capacity(from.len().saturating_add(64));
        let mut rest = from;
        loop {
            let before = self.deflate.total_in();
            self.deflate
                .compress_vec(rest, &mut packed, FlushCompress::Sync)
                .map_err(|_bad| io::Error::from(io::ErrorKind::InvalidData))?;
            let taken = between(before, self.deflate.total_in());
            rest = rest.get(taken..).unwrap_or_default();
            // Room that is left over says that everything is out.
            if rest.is_empty() && packed.len() < packed.capacity() {
                return Ok(packed);
            }
            packed.reserve(PACKED_BYTES);
        }
    }
}

fn between(before: u64, after: u64) -> usize {
    usize::try_from(after.saturating_sub(before)).unwrap_or(usize::MAX)
}

impl Read for Link {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.packing {
            None => self.stream.read(into),
            Some(packing) => packing.read(&mut self.stream, into),
        }
    }
}

impl Write for Link {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        match &mut self.packing {
            None => self.stream.write(from),
            Some(packing) => {
                let packed = packing.packed(from)?;
                self.stream.write_all(&packed)?;
                Ok(from.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packing() -> Packing {
        Packing {
            inflate: Decompress::new(false),
            deflate: Compress::new(Compression::fast(), false),
            came: Vec::new(),
            start: 0,
            has_more: false,
        }
    }

    /// Gives a byte at a time, and a time-out between any two.
    struct Trickle(Vec<u8>, usize, bool);

    impl Read for Trickle {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.2 = !self.2;
            if self.2 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let Some(byte) = self.0.get(self.1) else {
                return Ok(0);
            };
            self.1 += 1;
            into[0] = *byte;
            Ok(1)
        }
    }

    #[test]
    fn each_write_comes_out_whole_however_it_is_cut() {
        let mut server = packing();
        let said = [
            b"* OK hello\r\n".to_vec(),
            vec![b'x'; 100_000],
            Vec::from(*b"end"),
        ];
        let packed: Vec<u8> = said
            .iter()
            .flat_map(|part| server.packed(part).unwrap())
            .collect();
        assert!(packed.len() < 2_000);
        let mut stream = Trickle(packed, 0, false);
        let mut client = packing();
        let mut heard = Vec::new();
        let mut buffer = [0; 700];
        loop {
            match client.read(&mut stream, &mut buffer) {
                Ok(0) => break,
                Ok(count) => heard.extend_from_slice(&buffer[..count]),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        assert!(heard == said.concat());
    }

    #[test]
    fn a_bomb_fills_no_more_than_the_buffer_and_rubbish_is_an_error() {
        let mut server = packing();
        let bomb = server.packed(&vec![0; 64 << 20]).unwrap();
        assert!(bomb.len() < 1 << 20);
        let mut client = packing();
        let mut stream = bomb.as_slice();
        let mut buffer = [1; 4096];
        assert_eq!(client.read(&mut stream, &mut buffer).unwrap(), 4096);
        assert!(client.came.capacity() <= 2 * PACKED_BYTES);
        let mut client = packing();
        let rubbish = [0xff; 64];
        let error = client
            .read(&mut rubbish.as_slice(), &mut buffer)
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
