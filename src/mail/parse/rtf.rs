//! Rich text as Outlook sends it: unpacked (MS-OXRTFCP), and the HTML or the text that is wrapped in it (MS-OXRTFEX), else
//! its own text. Not for: how anything looked.

mod letter;

pub(super) use letter::{Letter, read};

/// Rich text that is unpacked; what is longer is cut. A reference of two bytes stands for up to 17.
pub(super) const RTF_BYTES_MAX: usize = 3 * 1024 * 1024;

const COMPRESSED: u32 = 0x7546_5a4c;
const AS_IT_IS: u32 = 0x414c_454d;

/// The window that references go back to.
const WINDOW_BYTES: usize = 4096;

/// What the window begins with.
const BEGINNING: &[u8] = b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript \
\\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx";

/// Unpacks as far as it goes, to little more than so many bytes. `None`: it is none.
pub(super) fn decompress(bytes: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
    let (head, packed) = bytes.split_at_checked(16)?;
    match u32::from_le_bytes(head.get(8..12)?.try_into().ok()?) {
        AS_IT_IS => Some(packed.get(..bytes_max).unwrap_or(packed).to_vec()),
        COMPRESSED => {
            let mut unpacked = Vec::new();
            // It ends where its bytes do, if it does not say so itself.
            let _end = unpack(packed, &mut unpacked, bytes_max);
            Some(unpacked)
        }
        _ => None,
    }
}

fn unpack(packed: &[u8], into: &mut Vec<u8>, bytes_max: usize) -> Option<()> {
    let mut window = [0_u8; WINDOW_BYTES];
    window
        .get_mut(..BEGINNING.len())?
        .copy_from_slice(BEGINNING);
    let mut at = BEGINNING.len();
    let mut bytes = packed.iter().copied();
    while into.len() < bytes_max {
        let control = bytes.next()?;
        for bit in 0..8 {
            if control >> bit & 1 == 0 {
                let byte = bytes.next()?;
                write(&mut window, &mut at, byte, into)?;
                continue;
            }
            let reference = u16::from_be_bytes([bytes.next()?, bytes.next()?]);
            let from = usize::from(reference >> 4);
            if from == at {
                return Some(());
            }
            for offset in 0..usize::from(reference & 0xf) + 2 {
                let byte = *window.get((from + offset) % WINDOW_BYTES)?;
                write(&mut window, &mut at, byte, into)?;
            }
        }
    }
    Some(())
}

fn write(
    window: &mut [u8; WINDOW_BYTES],
    at: &mut usize,
    byte: u8,
    into: &mut Vec<u8>,
) -> Option<()> {
    *window.get_mut(*at)? = byte;
    *at = (*at + 1) % WINDOW_BYTES;
    into.push(byte);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_begins_as_the_format_says() {
        assert_eq!(BEGINNING.len(), 207);
    }

    #[test]
    fn the_examples_of_the_format_are_unpacked() {
        // From MS-OXRTFCP, 3.1.1 and 3.1.2.
        let simple = b"\x2d\0\0\0\x2b\0\0\0LZFu\xf1\xc5\xc7\xa7\x03\0\x0a\0rcpg125\x42\x32\x0a\xf3 hel\x09\0\x20bw\x05\xb0ld}\x0a\x80\x0f\xa0";
        assert_eq!(
            decompress(simple, RTF_BYTES_MAX).unwrap(),
            b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n"
        );
        let overlapping =
            b"\x1a\0\0\0\x1c\0\0\0LZFu\xe2\xd4KQ\x41\0\x04\x20WXYZ\x0d\x6e\x7d\x01\x0e\xb0";
        assert_eq!(
            decompress(overlapping, RTF_BYTES_MAX).unwrap(),
            b"{\\rtf1 WXYZWXYZWXYZWXYZWXYZ}"
        );
        assert_eq!(
            decompress(b"\0\0\0\0\0\0\0\0MELA\0\0\0\0{\\rtf1 a}", RTF_BYTES_MAX).unwrap(),
            b"{\\rtf1 a}"
        );
        for cut in 0..simple.len() {
            let found = decompress(&simple[..cut], RTF_BYTES_MAX);
            assert_eq!(found.is_some(), cut >= 16);
        }
        assert_eq!(
            decompress(b"\0\0\0\0\0\0\0\0????\0\0\0\0{\\rtf1 a}", RTF_BYTES_MAX),
            None
        );
    }
}
