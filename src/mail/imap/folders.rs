//! What folders are called and what they are for (R2).
//! Not for: what is done with a folder's mail.

use crate::model::mailbox::FolderRole;
use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use imap::types::Name;

/// What it takes to ask a LIST for special use.
pub(super) const EXTENDED_LIST: [&str; 2] = ["LIST-EXTENDED", "SPECIAL-USE"];

/// A folder of the mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedFolder {
    /// Its name as people read it, with the server's hierarchy delimiter in it.
    pub path: String,
    /// Its name as the server spells it; commands take this one.
    pub raw_path: String,
    pub role: Option<FolderRole>,
    /// `false`: it only holds other folders.
    pub is_selectable: bool,
    /// It shows mails that another folder holds: at Gmail every folder but All Mail, Spam and Trash.
    pub is_view: bool,
}

/// A folder as it was listed, before roles by name are given out.
pub(super) struct Seen {
    folder: ListedFolder,
    delimiter: Option<String>,
}

pub(super) fn seen(name: &Name<'_>) -> Seen {
    let mut role = None;
    let mut is_selectable = true;
    for attribute in name.attributes() {
        // The crate does not export the attribute's type, only its values; their debug form is their name.
        let attribute = format!("{attribute:?}").to_ascii_lowercase();
        match attribute.as_str() {
            "noselect" => is_selectable = false,
            "all" => role = Some(FolderRole::All),
            "archive" => role = Some(FolderRole::Archive),
            "drafts" => role = Some(FolderRole::Drafts),
            "flagged" => role = Some(FolderRole::Flagged),
            "junk" => role = Some(FolderRole::Junk),
            "sent" => role = Some(FolderRole::Sent),
            "trash" => role = Some(FolderRole::Trash),
            // What was deleted but still has children; and Gmail's older names.
            extension if extension.contains("\\nonexistent") => is_selectable = false,
            extension if extension.contains("\\allmail") => role = Some(FolderRole::All),
            extension if extension.contains("\\spam") => role = Some(FolderRole::Junk),
            extension if extension.contains("\\starred") => role = Some(FolderRole::Flagged),
            extension if extension.contains("\\inbox") => role = Some(FolderRole::Inbox),
            _ => {}
        }
    }
    let raw_path = name.name().to_owned();
    let path = decode_modified_utf7(&raw_path);
    let delimiter = name
        .delimiter()
        .map(|delimiter| delimiter.trim_start_matches('\\').to_owned());
    Seen {
        folder: ListedFolder {
            path,
            raw_path,
            role,
            is_selectable,
            is_view: false,
        },
        delimiter,
    }
}

/// Gives out roles: special use first, then well-known names; each role to one folder. INBOX is always Inbox.
pub(super) fn with_roles(mut all: Vec<Seen>) -> Vec<ListedFolder> {
    let mut taken: Vec<FolderRole> = Vec::new();
    for seen in &mut all {
        if seen.folder.raw_path.eq_ignore_ascii_case("INBOX") {
            seen.folder.role = Some(FolderRole::Inbox);
        } else if seen.folder.role == Some(FolderRole::Inbox) || !seen.folder.is_selectable {
            seen.folder.role = None;
        }
        if let Some(role) = seen.folder.role {
            if taken.contains(&role) {
                seen.folder.role = None
            } else {
                taken.push(role)
            }
        }
    }
    // The folder nearest to the root has the better claim to a name.
    let mut by_depth: Vec<&mut Seen> = all.iter_mut().collect();
    by_depth.sort_by_key(|seen| seen.depth());
    for seen in by_depth {
        if seen.folder.role.is_some() || !seen.folder.is_selectable {
            continue;
        }
        let role = role_by_name(seen.last_name()).filter(|role| !taken.contains(role));
        if let Some(role) = role {
            taken.push(role);
            seen.folder.role = Some(role);
        }
    }
    all.into_iter().map(|seen| seen.folder).collect()
}

impl Seen {
    fn depth(&self) -> usize {
        let delimiter = self.delimiter.as_deref().unwrap_or_default();
        if delimiter.is_empty() {
            0
        } else {
            self.folder.path.matches(delimiter).count()
        }
    }

    fn last_name(&self) -> &str {
        let path = self.folder.path.as_str();
        match self.delimiter.as_deref() {
            Some(delimiter) if !delimiter.is_empty() => {
                path.rsplit(delimiter).next().unwrap_or(path)
            }
            _ => path,
        }
    }
}

/// Names that mail programs and providers give, in lower case.
const NAMES: [(FolderRole, &[&str]); 5] = [
    (
        FolderRole::Sent,
        &[
            "sent",
            "sent items",
            "sent messages",
            "sent mail",
            "sent-mail",
            "outbox sent",
            "gesendet",
            "gesendete elemente",
            "gesendete objekte",
            "gesendete nachrichten",
            "postausgang gesendet",
            "envoyés",
            "éléments envoyés",
            "messages envoyés",
            "courrier envoyé",
            "enviados",
            "elementos enviados",
            "mensajes enviados",
            "correo enviado",
            "itens enviados",
            "mensagens enviadas",
            "enviadas",
            "inviata",
            "inviati",
            "posta inviata",
            "elementi inviati",
            "verzonden",
            "verzonden items",
            "verzonden berichten",
            "отправленные",
            "надіслані",
            "wysłane",
            "elementy wysłane",
            "odeslané",
            "odeslaná pošta",
            "odoslané",
            "elküldött elemek",
            "elküldött",
            "trimise",
            "elemente trimise",
            "skickat",
            "skickade objekt",
            "skickade",
            "sendt",
            "sendt post",
            "sendte elementer",
            "sendte",
            "lähetetyt",
            "gönderilmiş öğeler",
            "gönderilenler",
            "gönderilmiş",
            "απεσταλμένα",
            "送信済み",
            "送信済みアイテム",
            "送信済みメール",
            "已发送",
            "已发送邮件",
            "已傳送郵件",
            "寄件備份",
            "寄件备份",
            "보낸편지함",
            "보낸 편지함",
            "보낸메일함",
        ],
    ),
    (
        FolderRole::Drafts,
        &[
            "drafts",
            "draft",
            "entwürfe",
            "entwurf",
            "brouillons",
            "brouillon",
            "borradores",
            "borrador",
            "rascunhos",
            "rascunho",
            "bozze",
            "concepten",
            "черновики",
            "чернетки",
            "kopie robocze",
            "szkice",
            "robocze",
            "koncepty",
            "rozepsané",
            "rozpracované",
            "piszkozatok",
            "ciorne",
            "utkast",
            "kladder",
            "kladde",
            "luonnokset",
            "taslaklar",
            "πρόχειρα",
            "下書き",
            "草稿",
            "草稿箱",
            "草稿匣",
            "임시보관함",
            "임시 보관함",
        ],
    ),
    (
        FolderRole::Trash,
        &[
            "trash",
            "deleted",
            "deleted items",
            "deleted messages",
            "bin",
            "rubbish",
            "papierkorb",
            "gelöscht",
            "gelöschte elemente",
            "gelöschte objekte",
            "corbeille",
            "éléments supprimés",
            "messages supprimés",
            "papelera",
            "elementos eliminados",
            "eliminados",
            "lixeira",
            "lixo",
            "itens excluídos",
            "itens eliminados",
            "cestino",
            "posta eliminata",
            "elementi eliminati",
            "prullenbak",
            "verwijderde items",
            "prullenmand",
            "корзина",
            "удаленные",
            "удалённые",
            "удаленные элементы",
            "кошик",
            "видалені",
            "kosz",
            "elementy usunięte",
            "koš",
            "odstraněná pošta",
            "kôš",
            "kuka",
            "törölt elemek",
            "coș de gunoi",
            "elemente șterse",
            "papperskorgen",
            "borttagna objekt",
            "papirkurv",
            "slettede elementer",
            "slettet post",
            "roskakori",
            "poistetut",
            "çöp kutusu",
            "silinmiş öğeler",
            "κάδος απορριμμάτων",
            "διαγραμμένα",
            "ごみ箱",
            "ゴミ箱",
            "削除済みアイテム",
            "垃圾箱",
            "已删除",
            "已删除邮件",
            "刪除的郵件",
            "휴지통",
            "지운편지함",
        ],
    ),
    (
        FolderRole::Junk,
        &[
            "junk",
            "junk e-mail",
            "junk email",
            "junk mail",
            "spam",
            "spamverdacht",
            "unerwünscht",
            "bulk",
            "bulk mail",
            "quarantine",
            "junk-e-mail",
            "unerwünschte werbung",
            "courrier indésirable",
            "indésirables",
            "pourriel",
            "pourriels",
            "correo no deseado",
            "correo basura",
            "no deseado",
            "lixo eletrônico",
            "lixo electrónico",
            "posta indesiderata",
            "indesiderata",
            "ongewenste e-mail",
            "ongewenst",
            "спам",
            "нежелательная почта",
            "wiadomości-śmieci",
            "niechciane",
            "nevyžádaná pošta",
            "nevyžiadaná pošta",
            "levélszemét",
            "mesaje nesolicitate",
            "skräppost",
            "søppelpost",
            "uønsket e-post",
            "uønsket mail",
            "roskaposti",
            "gereksiz e-posta",
            "istenmeyen",
            "ανεπιθύμητα",
            "迷惑メール",
            "垃圾邮件",
            "垃圾郵件",
            "스팸메일함",
            "스팸함",
            "정크 메일",
        ],
    ),
    (
        FolderRole::Archive,
        &[
            "archive",
            "archives",
            "archived",
            "archiv",
            "archivo",
            "archivos",
            "arquivo",
            "arquivo morto",
            "archivio",
            "archief",
            "архив",
            "архів",
            "archiwum",
            "archív",
            "archívum",
            "arhivă",
            "arkiv",
            "arkisto",
            "arşiv",
            "αρχείο",
            "アーカイブ",
            "归档",
            "存档",
            "封存",
            "보관함",
        ],
    ),
];

fn role_by_name(name: &str) -> Option<FolderRole> {
    let name = name.trim().to_lowercase();
    NAMES
        .iter()
        .find(|(_, names)| names.contains(&name.as_str()))
        .map(|(role, _)| *role)
}

/// Modified UTF-7 uses a comma for the slash and no padding.
fn modified_base64() -> GeneralPurpose {
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true);
    GeneralPurpose::new(&base64::alphabet::IMAP_MUTF7, config)
}

/// A name in modified UTF-7 as people read it; what is not valid stays as it is. Control characters are made
/// visible, so that no name can draw over a log or a list.
fn decode_modified_utf7(raw: &str) -> String {
    let mut decoded = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((before, after)) = rest.split_once('&') {
        decoded.push_str(before);
        let Some((code, behind)) = after.split_once('-') else {
            decoded.push('&');
            rest = after;
            break;
        };
        if code.is_empty() {
            decoded.push('&');
        } else if let Some(text) = decode_run(code) {
            decoded.push_str(&text);
        } else {
            decoded.push('&');
            decoded.push_str(code);
            decoded.push('-');
        }
        rest = behind;
    }
    decoded.push_str(rest);
    decoded
        .chars()
        .map(|letter| {
            if letter.is_control() {
                '\u{fffd}'
            } else {
                letter
            }
        })
        .collect()
}

fn decode_run(code: &str) -> Option<String> {
    let bytes = modified_base64().decode(code).ok()?;
    let units: Vec<u16> = bytes
        .chunks_exact(2)
        .map(|pair| {
            pair.iter()
                .fold(0_u16, |unit, &byte| (unit << 8) | u16::from(byte))
        })
        .collect();
    (!units.is_empty()).then(|| String::from_utf16(&units).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_decoded_and_garbage_survives() {
        let rows = [
            ("INBOX", "INBOX"),
            ("&BB4EQgQ,BEAEMAQyBDsENQQ9BD0ESwQ1-", "Отправленные"),
            ("Gel&APY-schte Elemente", "Gelöschte Elemente"),
            ("A &- B", "A & B"),
            ("&2D3eAA-", "😀"),
            ("&2D0-", "&2D0-"),
            ("&***-x", "&***-x"),
            ("open &BB4", "open &BB4"),
            ("Entwürfe", "Entwürfe"),
            ("a&AAo-b", "a\u{fffd}b"),
        ];
        for (raw, expected) in rows {
            assert_eq!(decode_modified_utf7(raw), expected, "{raw}");
        }
    }

    fn listed(path: &str, role: Option<FolderRole>) -> Seen {
        let folder = ListedFolder {
            path: path.to_owned(),
            raw_path: path.to_owned(),
            role,
            is_selectable: true,
            is_view: false,
        };
        Seen {
            folder,
            delimiter: Some("/".to_owned()),
        }
    }

    fn roles(seen: Vec<Seen>) -> Vec<Option<FolderRole>> {
        with_roles(seen)
            .into_iter()
            .map(|folder| folder.role)
            .collect()
    }

    #[test]
    fn r2_special_use_wins_over_names_and_each_role_is_given_once() {
        use FolderRole::{Drafts, Inbox, Junk, Sent, Trash};
        assert_eq!(
            roles(vec![
                listed("inbox", None),
                listed("Sent", None),
                listed("Verschickt", Some(Sent)),
                listed("Spam", None)
            ]),
            [Some(Inbox), None, Some(Sent), Some(Junk)],
            "a folder called Sent is not Sent where another one has the special use"
        );
        assert_eq!(
            roles(vec![
                listed("Kunden/Papierkorb", None),
                listed("Papierkorb", None),
                listed("Entwürfe", None)
            ]),
            [None, Some(Trash), Some(Drafts)],
            "the folder nearest to the root has the better claim"
        );
        assert_eq!(roles(vec![listed("[Gmail]/Корзина", None)]), [Some(Trash)]);
        assert_eq!(
            roles(vec![listed("A", Some(Junk)), listed("B", Some(Junk))]),
            [Some(Junk), None]
        );
    }
}
