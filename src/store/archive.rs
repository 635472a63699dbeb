//! The file that a backup is: blocks in a chain of hashes, so that a cut, changed or reordered one shows before
//! anything is taken from it. The same on both databases.
//! Not for: what is in the blocks (that is `backup`).

use std::io::{self, Read, Write};
use thiserror::Error;

/// What every archive begins with.
const MAGIC: &[u8; 16] = b"mailroom backup\n";

/// No block is larger: the largest mail (128 MB) and a batch beside it fit many times.
const BLOCK_BYTES_MAX: u64 = 1 << 30;

/// What is wrong with an archive, or with the file that it lies in.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// It can't be read or written.
    #[error("the backup can't be read or written")]
    File(#[from] io::Error),
    /// It begins with something else.
    #[error("this is not a Mailroom backup")]
    Unknown,
    /// It ends before its end.
    #[error("the backup is cut: it ends in the middle")]
    Cut,
    /// What stands there is not what was written.
    #[error("the backup is damaged: block {0} is not what was written")]
    Damaged(u64),
}

/// What a block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKind {
    /// Who made it and when: JSON.
    Header,
    /// The key file, as it was.
    KeyFile,
    /// A table's name and columns, before its rows: JSON.
    Table,
    /// Rows of the last table, a JSON list a line, packed with LZ4.
    Rows,
    /// An object of the raw store: its name, a line end, its bytes.
    Object,
    /// The name of an object that was not to be had.
    Missing,
    /// What was counted: JSON. Nothing comes after it.
    End,
}

impl BlockKind {
    const ALL: [Self; 7] = [
        Self::Header,
        Self::KeyFile,
        Self::Table,
        Self::Rows,
        Self::Object,
        Self::Missing,
        Self::End,
    ];

    const fn letter(self) -> u8 {
        match self {
            Self::Header => b'H',
            Self::KeyFile => b'K',
            Self::Table => b'T',
            Self::Rows => b'R',
            Self::Object => b'O',
            Self::Missing => b'X',
            Self::End => b'E',
        }
    }
}

/// The hash of everything up to and with a block.
fn linked(before: &[u8; 32], head: &[u8], payload: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(before);
    hasher.update(head);
    for part in payload {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

/// Writes an archive, block by block.
pub struct ArchiveWriter<'w> {
    out: &'w mut dyn Write,
    chain: [u8; 32],
    written: u64,
}

impl<'w> ArchiveWriter<'w> {
    /// Begins one.
    ///
    /// # Errors
    /// `File`.
    pub fn new(out: &'w mut dyn Write) -> Result<Self, ArchiveError> {
        out.write_all(MAGIC)?;
        Ok(Self {
            out,
            chain: *blake3::hash(MAGIC).as_bytes(),
            written: 16,
        })
    }

    /// Adds a block, given in parts.
    ///
    /// # Errors
    /// `File`; also for a block that is too large to be read again.
    pub fn block(&mut self, kind: BlockKind, payload: &[&[u8]]) -> Result<(), ArchiveError> {
        let length = payload.iter().fold(0_u64, |sum, part| {
            sum.saturating_add(u64::try_from(part.len()).unwrap_or(u64::MAX))
        });
        if length > BLOCK_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "a block is too large").into());
        }
        let mut head = vec![kind.letter()];
        head.extend_from_slice(&length.to_le_bytes());
        self.chain = linked(&self.chain, &head, payload);
        self.out.write_all(&head)?;
        for part in payload {
            self.out.write_all(part)?;
        }
        self.out.write_all(&self.chain)?;
        self.written = self.written.saturating_add(length).saturating_add(41);
        Ok(())
    }

    /// Bytes written so far.
    pub const fn written(&self) -> u64 {
        self.written
    }
}

/// Reads an archive, block by block; each is proved before it is given out.
pub struct ArchiveReader<R> {
    from: R,
    chain: [u8; 32],
    number: u64,
    is_ended: bool,
}

impl<R: Read> ArchiveReader<R> {
    /// Begins to read one.
    ///
    /// # Errors
    /// `Unknown` where it is something else.
    pub fn new(mut from: R) -> Result<Self, ArchiveError> {
        let mut magic = [0; 16];
        match from.read_exact(&mut magic) {
            Ok(()) if magic == *MAGIC => {}
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error.into()),
            _ => return Err(ArchiveError::Unknown),
        }
        Ok(Self {
            from,
            chain: *blake3::hash(MAGIC).as_bytes(),
            number: 0,
            is_ended: false,
        })
    }

    /// The next block; `None` behind the end.
    ///
    /// # Errors
    /// `Cut` or `Damaged`.
    pub fn next_block(&mut self) -> Result<Option<(BlockKind, Vec<u8>)>, ArchiveError> {
        if self.is_ended {
            let mut more = [0; 1];
            return match self.from.read(&mut more)? {
                0 => Ok(None),
                _ => Err(ArchiveError::Damaged(self.number)),
            };
        }
        self.number = self.number.saturating_add(1);
        let damaged = ArchiveError::Damaged(self.number);
        let mut head = [0; 9];
        self.fill(&mut head)?;
        let [letter, length @ ..] = head;
        let length = u64::from_le_bytes(length);
        let kind = BlockKind::ALL
            .into_iter()
            .find(|kind| kind.letter() == letter);
        let Some(kind) = kind.filter(|_kind| length <= BLOCK_BYTES_MAX) else {
            return Err(damaged);
        };
        // Memory grows with what comes, not with what is promised.
        let mut payload = Vec::new();
        let came = (&mut self.from).take(length).read_to_end(&mut payload)?;
        if u64::try_from(came).ok() != Some(length) {
            return Err(ArchiveError::Cut);
        }
        let mut chain = [0; 32];
        self.fill(&mut chain)?;
        if chain != linked(&self.chain, &head, &[&payload]) {
            return Err(damaged);
        }
        self.chain = chain;
        self.is_ended = kind == BlockKind::End;
        Ok(Some((kind, payload)))
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), ArchiveError> {
        self.from
            .read_exact(buffer)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => ArchiveError::Cut,
                _ => ArchiveError::File(error),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive() -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = ArchiveWriter::new(&mut out).unwrap();
        writer.block(BlockKind::Header, &[b"{}"]).unwrap();
        writer.block(BlockKind::Rows, &[b"ab", b"cd"]).unwrap();
        writer.block(BlockKind::End, &[]).unwrap();
        let written = writer.written();
        assert_eq!(written, u64::try_from(out.len()).unwrap());
        out
    }

    fn read(bytes: &[u8]) -> Result<Vec<(BlockKind, Vec<u8>)>, ArchiveError> {
        let mut reader = ArchiveReader::new(bytes)?;
        let mut blocks = Vec::new();
        while let Some(block) = reader.next_block()? {
            blocks.push(block);
        }
        Ok(blocks)
    }

    #[test]
    fn what_is_written_is_read_again() {
        let blocks = read(&archive()).unwrap();
        let expected = [
            (BlockKind::Header, b"{}".to_vec()),
            (BlockKind::Rows, b"abcd".to_vec()),
            (BlockKind::End, Vec::new()),
        ];
        assert_eq!(blocks, expected);
    }

    #[test]
    fn every_cut_and_every_changed_byte_shows() {
        let whole = archive();
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).is_err(), "cut at {length}");
        }
        for index in 0..whole.len() {
            let mut changed = whole.clone();
            changed[index] ^= 0x40;
            assert!(read(&changed).is_err(), "changed at {index}");
        }
        let longer = [whole, vec![0]].concat();
        assert!(matches!(read(&longer), Err(ArchiveError::Damaged(_))));
    }
}
