//! Small files to attach: a quote as PDF, a photo as PNG, a list of parts as CSV, an invitation.
//! Not for: anything that must look good; they are real files all the same.

use super::super::dice::Dice;

/// A file with the name and type under which it is attached.
#[derive(Debug, Clone)]
pub struct File {
    pub name: String,
    pub media_type: &'static str,
    pub bytes: Vec<u8>,
    /// Its Content-ID, where the HTML shows it.
    pub content_id: Option<String>,
}

/// A PDF of one page with these lines (ASCII only; others become `?`).
pub fn pdf(name: &str, lines: &[String]) -> File {
    let mut page = "BT /F1 12 Tf 72 770 Td 16 TL".to_owned();
    for line in lines {
        let text: String = line
            .chars()
            .map(|character| {
                if character.is_ascii() && !"()\\".contains(character) {
                    character
                } else {
                    '?'
                }
            })
            .collect();
        page.push_str(&format!(" ({text}) Tj T*"));
    }
    page.push_str(" ET");
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R \
         /Resources << /Font << /F1 5 0 R >> >> >>"
            .to_owned(),
        format!("<< /Length {} >>\nstream\n{page}\nendstream", page.len()),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
    ];
    let mut text = "%PDF-1.4\n".to_owned();
    let mut places = Vec::new();
    for (number, object) in objects.iter().enumerate() {
        places.push(text.len());
        text.push_str(&format!("{} 0 obj\n{object}\nendobj\n", number + 1));
    }
    let start = text.len();
    text.push_str(&format!(
        "xref\n0 {}\n0000000000 65535 f \n",
        objects.len() + 1
    ));
    for place in places {
        text.push_str(&format!("{place:010} 00000 n \n"));
    }
    text.push_str(&format!(
        "trailer << /Size {} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n",
        objects.len() + 1
    ));
    File {
        name: name.to_owned(),
        media_type: "application/pdf",
        bytes: text.into_bytes(),
        content_id: None,
    }
}

/// A PNG of 8-bit grey values: soft rings, different for each draw.
pub fn png(name: &str, side: u32, dice: &mut Dice) -> File {
    let (x0, y0, step) = (dice.below(side), dice.below(side), dice.between(3, 9));
    let mut rows = Vec::new();
    for y in 0..side {
        rows.push(0);
        for x in 0..side {
            let distance = (x.abs_diff(x0).pow(2) + y.abs_diff(y0).pow(2)).isqrt();
            rows.push(u8::try_from((distance * step) % 256).unwrap_or(0));
        }
    }
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = Vec::new();
    header.extend_from_slice(&side.to_be_bytes());
    header.extend_from_slice(&side.to_be_bytes());
    header.extend_from_slice(&[8, 0, 0, 0, 0]);
    chunk(&mut bytes, *b"IHDR", &header);
    chunk(&mut bytes, *b"IDAT", &stored_zlib(&rows));
    chunk(&mut bytes, *b"IEND", &[]);
    File {
        name: name.to_owned(),
        media_type: "image/png",
        bytes,
        content_id: None,
    }
}

fn chunk(out: &mut Vec<u8>, kind: [u8; 4], data: &[u8]) {
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    let mut checked = kind.to_vec();
    checked.extend_from_slice(data);
    out.extend_from_slice(&checked);
    out.extend_from_slice(&crc32(&checked).to_be_bytes());
}

/// A zlib stream that does not compress: enough for a picture of a few kilobytes.
fn stored_zlib(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    let mut blocks = data.chunks(0xFFFF).peekable();
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.push(u8::from(blocks.peek().is_none()));
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(block);
    }
    let (mut low, mut high) = (1u32, 0u32);
    for byte in data {
        low = (low + u32::from(*byte)) % 65_521;
        high = (high + low) % 65_521;
    }
    out.extend_from_slice(&((high << 16) | low).to_be_bytes());
    out
}

fn crc32(data: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in data {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let mask = (crc & 1).wrapping_neg();
            crc = (crc >> 1) ^ (0xEDB8_8320 & mask);
        }
    }
    !crc
}

/// A list of parts.
pub fn csv(name: &str, machine: &str, dice: &mut Dice) -> File {
    let parts = [
        "shower screen",
        "group gasket",
        "steam tip",
        "drip tray",
        "pressure gauge",
        "inlet filter",
    ];
    let mut text = "part;number;quantity;machine\r\n".to_owned();
    for part in parts {
        if dice.chance(60) {
            let (number, quantity) = (dice.between(10_000, 99_999), dice.between(1, 6));
            text.push_str(&format!("{part};TV-{number};{quantity};{machine}\r\n"));
        }
    }
    File {
        name: name.to_owned(),
        media_type: "text/csv",
        bytes: text.into_bytes(),
        content_id: None,
    }
}

/// An invitation (RFC 5545, method REQUEST); times as `20260131T090000Z`.
pub fn invitation(
    id: &str,
    organizer: &str,
    guest: &str,
    summary: &str,
    start: &str,
    end: &str,
) -> String {
    format!(
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Calendar//EN\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:{id}\r\n\
         DTSTAMP:{start}\r\nDTSTART:{start}\r\nDTEND:{end}\r\nSUMMARY:{summary}\r\nORGANIZER:mailto:{organizer}\r\n\
         ATTENDEE;RSVP=TRUE:mailto:{guest}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_agree_with_the_known_ones() {
        assert_eq!(crc32(b"IEND"), 0xAE42_6082);
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert!(stored_zlib(b"Wikipedia").ends_with(&0x11E6_0398u32.to_be_bytes()));
    }

    #[test]
    fn a_pdf_knows_where_its_objects_are() {
        let file = pdf(
            "quote.pdf",
            &["Quote (no. 7)".to_owned(), "3 x Tarn Duo".to_owned()],
        );
        let text = String::from_utf8(file.bytes).unwrap();
        let start: usize = text
            .rsplit("startxref\n")
            .next()
            .unwrap()
            .lines()
            .next()
            .unwrap()
            .parse()
            .unwrap();
        let table = text.get(start..).unwrap();
        assert!(table.starts_with("xref\n0 6\n"));
        for (number, line) in table.lines().skip(3).take(5).enumerate() {
            let place: usize = line.split(' ').next().unwrap().parse().unwrap();
            let object = text.get(place..).unwrap();
            assert!(object.starts_with(&format!("{} 0 obj", number + 1)));
        }
    }

    #[test]
    fn a_png_has_its_size() {
        let file = png("photo.png", 40, &mut Dice::new(1));
        assert!(file.bytes.starts_with(b"\x89PNG\r\n\x1a\n"));
        assert!(file.bytes.len() > 40 * 41 && file.bytes.ends_with(&[0xAE, 0x42, 0x60, 0x82]));
    }
}
