//! Tells what a person wrote from the older mail that their program put below it.
//!
//! Mail programs announce a quoted mail in their own ways: a sentence ("On …, … wrote:"), a line ("-----Original Message-----"),
//! a block of headers ("From: … Sent: …"), or only ">" before each line. Where people answer between the quoted lines there is
//! no tail to fold, and all of it is theirs.
//! Not for threads: which mail answers which is told by headers, never by what is quoted.

use super::markup::{after, upto};

/// Lines read of one mail; behind them everything belongs to where the last of them belongs.
const LINES_MAX: usize = 20_000;

/// Lines that an announcement may be wrapped over.
const ANNOUNCEMENT_LINES_MAX: usize = 3;

/// Bytes of an announcement at most: a name, an address, a date and a verb.
const ANNOUNCEMENT_BYTES_MAX: usize = 400;

/// Lines below "From:" in which the rest of a header block is looked for.
const HEADER_LINES_MAX: usize = 8;

/// Verbs that end or nearly end an announcement.
const WROTE: [&str; 26] = [
    "wrote",
    "writes",
    "schrieb",
    "écrit",
    "escribió",
    "escreveu",
    "ha scritto",
    "scrisse",
    "schreef",
    "skrev",
    "kirjoitti",
    "napisał",
    "napisal",
    "napísal",
    "napisao",
    "написал",
    "написав",
    "пишет",
    "пише",
    "a scris",
    "írta",
    "yazdı",
    "έγραψε",
    "写道",
    "書きました",
    "작성",
];

/// Words that begin an announcement. One that is wrapped over lines is only known by them.
const LEADS: [&str; 14] = [
    "on ", "am ", "le ", "el ", "il ", "em ", "op ", "den ", "dne ", "dňa ", "w dniu ", "în ",
    "pe ", "в ",
];

/// Names of header lines as programs write them above a quoted mail: sender, and what else is there.
const SENDER: [&str; 15] = [
    "from",
    "von",
    "de",
    "da",
    "van",
    "fra",
    "från",
    "od",
    "от",
    "від",
    "kimden",
    "lähettäjä",
    "feladó",
    "发件人",
    "差出人",
];
const OTHER_HEADERS: [&str; 57] = [
    "sent",
    "date",
    "to",
    "cc",
    "subject",
    "gesendet",
    "datum",
    "an",
    "betreff",
    "envoyé",
    "envoyé le",
    "à",
    "objet",
    "enviado",
    "enviado el",
    "enviada em",
    "fecha",
    "data",
    "para",
    "asunto",
    "assunto",
    "inviato",
    "a",
    "oggetto",
    "verzonden",
    "aan",
    "onderwerp",
    "sendt",
    "dato",
    "til",
    "emne",
    "skickat",
    "till",
    "ämne",
    "wysłano",
    "do",
    "temat",
    "odesláno",
    "komu",
    "předmět",
    "отправлено",
    "дата",
    "кому",
    "тема",
    "надіслано",
    "gönderildi",
    "kime",
    "konu",
    "lähetetty",
    "vastaanottaja",
    "aihe",
    "elküldve",
    "címzett",
    "tárgy",
    "发送时间",
    "收件人",
    "主题",
];

/// A text in two parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quoted<'a> {
    /// What the sender wrote, with any lines quoted in between.
    pub own: &'a str,
    /// The older mail below it, with its announcement; empty if there is none.
    pub tail: &'a str,
}

/// Splits a plain text where its quoted tail begins. The two parts together are the text.
pub fn split_quoted(text: &str) -> Quoted<'_> {
    let lines = Lines::of(text);
    let start = (0..lines.count())
        .find(|index| lines.begins_tail(*index))
        .and_then(|index| lines.offset(index));
    let at = start.unwrap_or(text.len());
    Quoted {
        own: upto(text, at),
        tail: after(text, at),
    }
}

/// Whether this line announces, all by itself, that an older mail follows.
pub(super) fn is_separator(line: &str) -> bool {
    let line = line.trim().trim_matches('*').trim();
    let words = line.trim_matches('-').trim();
    let is_ruled = line.starts_with("---") && line.ends_with("--") && line.len() <= 120;
    if is_ruled && words.chars().filter(|c| c.is_alphabetic()).count() >= 4 && !words.contains('|')
    {
        return true;
    }
    matches!(
        line.to_lowercase().as_str(),
        "begin forwarded message:"
            | "anfang der weitergeleiteten nachricht:"
            | "début du message réexpédié :"
            | "inizio messaggio inoltrato:"
            | "inicio del mensaje reenviado:"
            | "início da mensagem reencaminhada:"
    )
}

/// Whether this line is quoted by ">" (or "|", as some programs write it).
pub(super) fn is_quoted_line(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with('>') || line.starts_with("| ")
}

/// A text cut into lines.
struct Lines<'a> {
    /// Where each line begins, in bytes, and the line without its end.
    lines: Vec<(usize, &'a str)>,
    /// For each line, and for the end: whether only quoted and empty lines follow from there on.
    only_quotes_from: Vec<bool>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        let mut lines = Vec::new();
        let mut offset: usize = 0;
        for line in text.split_inclusive('\n').take(LINES_MAX) {
            lines.push((offset, line.trim_end()));
            offset = offset.saturating_add(line.len());
        }
        let mut only_quotes_from = vec![true];
        let mut only_quotes = true;
        for (_, line) in lines.iter().rev() {
            only_quotes &= line.trim().is_empty() || is_quoted_line(line);
            only_quotes_from.push(only_quotes);
        }
        only_quotes_from.reverse();
        Self {
            lines,
            only_quotes_from,
        }
    }

    fn count(&self) -> usize {
        self.lines.len()
    }

    fn offset(&self, index: usize) -> Option<usize> {
        self.lines.get(index).map(|(offset, _)| *offset)
    }

    /// A line; empty behind the last one.
    fn line(&self, index: usize) -> &'a str {
        self.lines.get(index).map_or("", |(_, line)| *line)
    }

    /// The first line at or behind this one that has words, and its index.
    fn next_with_words(&self, index: usize) -> Option<(usize, &'a str)> {
        let found = self
            .lines
            .iter()
            .enumerate()
            .skip(index)
            .find(|(_, (_, line))| !line.trim().is_empty());
        found.map(|(at, (_, line))| (at, *line))
    }

    fn only_quotes_from(&self, index: usize) -> bool {
        self.only_quotes_from.get(index).copied().unwrap_or(true)
    }

    /// Whether the tail begins with this line.
    fn begins_tail(&self, index: usize) -> bool {
        let line = self.line(index);
        if line.trim().is_empty() {
            return false;
        }
        if is_separator(line) || self.begins_header_block(index) {
            return true;
        }
        if is_quoted_line(line) {
            return self.only_quotes_from(index);
        }
        self.announcement_end(index)
            .is_some_and(|behind| match self.next_with_words(behind) {
                None => false,
                // Quoted by ">": a tail only if nothing of their own follows.
                Some((at, next)) if is_quoted_line(next) => self.only_quotes_from(at),
                Some(_) => true,
            })
    }

    /// The index behind a sentence like "On …, … wrote:" that begins with this line.
    fn announcement_end(&self, index: usize) -> Option<usize> {
        let mut sentence = String::new();
        for count in 0..ANNOUNCEMENT_LINES_MAX {
            let at = index.saturating_add(count);
            let line = self.line(at).trim();
            if line.is_empty()
                || is_quoted_line(line)
                || sentence.len().saturating_add(line.len()) > ANNOUNCEMENT_BYTES_MAX
            {
                return None;
            }
            if !sentence.is_empty() {
                sentence.push(' ');
            }
            sentence.push_str(line);
            if line.ends_with([':', '：']) {
                return is_announcement(&sentence).then(|| at.saturating_add(1));
            }
            let lower = sentence.to_lowercase();
            if !LEADS.iter().any(|lead| lower.starts_with(lead)) {
                return None;
            }
        }
        None
    }

    /// Whether a block like "From: … Sent: … To: … Subject: …" begins here, perhaps below a rule.
    fn begins_header_block(&self, index: usize) -> bool {
        let line = self.line(index).trim();
        let is_rule = line.len() >= 5 && line.chars().all(|c| matches!(c, '_' | '-' | '='));
        let Some((first, sender)) = (if is_rule {
            self.next_with_words(index.saturating_add(1))
        } else {
            Some((index, line))
        }) else {
            return false;
        };
        if first > index.saturating_add(2)
            || !header_name(sender).is_some_and(|name| SENDER.contains(&&*name))
        {
            return false;
        }
        let others = (1..=HEADER_LINES_MAX)
            .map(|count| self.line(first.saturating_add(count)))
            .take_while(|line| !line.trim().is_empty())
            .filter(|line| header_name(line).is_some_and(|name| OTHER_HEADERS.contains(&&*name)));
        others.count() >= 2
    }
}

/// The lower-case name of a line like "From: …" or "*From:* …".
fn header_name(line: &str) -> Option<String> {
    let (name, _) = line.split_once([':', '：'])?;
    let name = name.trim_matches(|c: char| c == '*' || c.is_whitespace());
    (name.len() <= 40).then(|| name.to_lowercase())
}

/// Whether a sentence that ends with a colon tells who wrote what follows: it has a verb for that, and a date or an address.
fn is_announcement(sentence: &str) -> bool {
    let lower = sentence.to_lowercase();
    let has_verb = WROTE.iter().any(|verb| lower.contains(verb));
    has_verb && lower.contains(|c: char| c.is_ascii_digit() || c == '@')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How a program writes it, what the sender wrote, and the tail.
    const TAILS: &[(&str, &str, &str)] = &[
        ("no quote, no tail", "Hello,\n\nthe offer is fine.\n", ""),
        (
            "Gmail",
            "Thanks!\n\n",
            "On Tue, 3 Mar 2026 at 10:12, Anna Berg <anna@x.example> wrote:\n\n> Hello\n> there\n",
        ),
        (
            "Gmail, wrapped",
            "Thanks!\n\n",
            "On Tue, 3 Mar 2026 at 10:12, Anna Katharina Berg-Hofmann\n<anna@x.example> wrote:\n\n> Hello\n",
        ),
        (
            "Gmail's HTML read as text, not marked",
            "Thanks!\n",
            "On Tue, 3 Mar 2026, Anna <a@x.example> wrote:\nHello\n",
        ),
        (
            "Apple Mail in German",
            "Danke!\n\n",
            "> Am 03.03.2026 um 10:12 schrieb Anna Berg <anna@x.example>:\n> \n> Hallo\n",
        ),
        (
            "Thunderbird in German",
            "Danke!\n\n",
            "Am 03.03.26 um 10:12 schrieb Anna Berg:\n> Hallo\n",
        ),
        (
            "in French",
            "Merci !\n\n",
            "Le mar. 3 mars 2026 à 10:12, Anna <a@x.example> a écrit :\n> Bonjour\n",
        ),
        (
            "in Spanish",
            "Gracias\n\n",
            "El mar, 3 mar 2026 a las 10:12, Ana (<a@x.example>) escribió:\n> Hola\n",
        ),
        (
            "in Italian",
            "Grazie\n\n",
            "Il giorno mar 3 mar 2026 Anna <a@x.example> ha scritto:\n> Ciao\n",
        ),
        (
            "in Portuguese",
            "Obrigado\n\n",
            "Em ter., 3 de mar. de 2026 às 10:12, Ana <a@x.example> escreveu:\n> Olá\n",
        ),
        (
            "in Dutch",
            "Dank\n\n",
            "Op di 3 mrt 2026 om 10:12 schreef Anna <a@x.example>:\n> Hallo\n",
        ),
        (
            "in Swedish",
            "Tack\n\n",
            "Den tis 3 mars 2026 kl 10:12 skrev Anna <a@x.example>:\n> Hej\n",
        ),
        (
            "in Polish",
            "Dziękuję\n\n",
            "wt., 3 mar 2026 o 10:12 Anna <a@x.example> napisał(a):\n> Cześć\n",
        ),
        (
            "in Russian",
            "Спасибо\n\n",
            "вт, 3 мар. 2026 г. в 10:12, Анна <a@x.example> написал(а):\n> Привет\n",
        ),
        (
            "in Chinese",
            "谢谢\n\n",
            "Anna <a@x.example> 于2026年3月3日周二 10:12写道：\n> 你好\n",
        ),
        (
            "Outlook's line",
            "Fine.\r\n\r\n",
            "-----Original Message-----\r\nFrom: Anna\r\nHello\r\n",
        ),
        (
            "in German",
            "Gut.\n",
            "-----Ursprüngliche Nachricht-----\nVon: Anna\nHallo\n",
        ),
        (
            "a forwarded mail",
            "FYI\n\n",
            "---------- Forwarded message ---------\nFrom: Anna <a@x.example>\nHello\n",
        ),
        (
            "Apple's forward",
            "FYI\n\n",
            "Begin forwarded message:\n\nFrom: Anna\nHello\n",
        ),
        (
            "Outlook's block",
            "Fine.\n\n",
            "From: Anna <a@x.example>\nSent: Tuesday\nTo: Ben\nSubject: Offer\n\nHello\n",
        ),
        (
            "Outlook's block in bold",
            "Fine.\n",
            "*From:* Anna\n*Sent:* Tuesday\n*To:* Ben\n*Subject:* Offer\n\nHello",
        ),
        (
            "below a rule",
            "Fine.\n",
            "________________________________\nVon: Anna\nGesendet: Dienstag\nAn: Ben\nBetreff: Angebot\n\nHallo\n",
        ),
        (
            "in French",
            "Bien.\n",
            "De : Anna\nEnvoyé : mardi\nÀ : Ben\nObjet : Offre\n\nBonjour\n",
        ),
        (
            "in Russian",
            "Да.\n",
            "От: Анна\nОтправлено: вторник\nКому: Бен\nТема: Заказ\n\nПривет\n",
        ),
        ("only marks", "Yes.\n\n", "> Is it fine?\n>\n> Anna\n"),
        ("nothing but a quote", "", "> Is it fine?\n"),
    ];

    #[test]
    fn r40_the_quoted_tail_is_found_as_programs_write_it() {
        for (sentence, own, tail) in TAILS {
            let text = format!("{own}{tail}");
            assert_eq!(split_quoted(&text), Quoted { own, tail }, "{sentence}");
        }
    }

    #[test]
    fn r40_what_people_write_stays_theirs() {
        for (sentence, text) in [
            (
                "an answer between quoted lines",
                "On 3 March Anna <a@x.example> wrote:\n> Is it fine?\n\nYes, it is.\n\n> When?\n\nTomorrow.\n",
            ),
            (
                "an answer below the quote",
                "On 3 March 2026 Anna wrote:\n> Is it fine?\n\nYes.\n",
            ),
            (
                "a sentence with a colon",
                "We need 3 things:\n- paper\n- ink\n",
            ),
            (
                "somebody who wrote, without a date",
                "As my colleague wrote:\nit is fine.\n",
            ),
            ("an announcement of nothing", "On 3 March Anna wrote:\n\n"),
            (
                "one header line alone",
                "From: the whole team\nThank you!\n",
            ),
            ("a rule", "Above\n-----\nBelow\n"),
            ("a signature's rule", "Hello\n-- \nAnna\n"),
            ("a table", "--- a | b | c ---\nx\n"),
        ] {
            assert_eq!(
                split_quoted(text),
                Quoted {
                    own: text,
                    tail: ""
                },
                "{sentence}"
            );
        }
    }

    #[test]
    fn a_long_mail_is_split_in_time() {
        for line in [
            "> x\n",
            "On 3 wrote\n",
            "wrote 3:\n",
            "\n",
            "_____\n",
            "From: x\n",
            "x\n> y\n",
        ] {
            let text = line.repeat(200_000);
            let parts = split_quoted(&text);
            assert_eq!(parts.own.len() + parts.tail.len(), text.len());
        }
    }
}
