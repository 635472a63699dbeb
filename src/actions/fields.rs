//! What the fields of an input may hold: each check takes the text as it came and gives the value to store,
//! or a refusal that names the field. Nothing here looks at data, so that no answer tells what there is.
//! Not for: rights, or whether what is named exists.

use super::change::Change;
use crate::mail::address::{AddressKey, AddressPattern};
use crate::model::Time;
use crate::model::refusal::{ErrorCode, Refusal};
use crate::store::item_writes::AddressRow;
use serde::Serialize;

/// The name of a person, department, role or mailbox source: longer ones are no names, and lists show them whole.
pub const NAME_CHARS_MAX: usize = 200;
/// A title: sealed into a cursor with its list's key, it must fit there (`store::codec`).
pub const TITLE_CHARS_MAX: usize = 500;
/// A note: a long letter; what is longer belongs into a file.
pub const NOTE_CHARS_MAX: usize = 20_000;
/// An avatar's address: what browsers take without trouble.
pub const URL_CHARS_MAX: usize = 2_000;
/// Addresses or phones of one lead or contact: more than any person has, few enough to match each mail quickly.
pub const ADDRESSES_MAX: usize = 50;
/// A phone number with its spaces, prefix and extension.
pub const PHONE_CHARS_MAX: usize = 50;
/// Contacts of one deal: they are shown as a plain list.
pub const DEAL_CONTACTS_MAX: usize = 100;
/// Exclusions, or "always a new lead" entries: each mail is compared with all of them.
pub const PATTERNS_MAX: usize = 1_000;
/// Users of a queue, or holders of a mailbox: shown and judged as a plain list.
pub const HOLDERS_MAX: usize = 250;
/// Roles of one holder: all are looked at in every decision.
pub const ROLES_MAX: usize = 50;
/// Digits before the decimal point: a thousand times all the money there is, in any currency.
const AMOUNT_DIGITS_MAX: usize = 18;
/// Digits behind it: no currency divides its unit further than that.
const AMOUNT_DECIMALS_MAX: usize = 4;

/// An amount of money as it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Money {
    pub amount: String,
    pub currency: String,
}

fn bad(field: &str, message: impl Into<String>) -> Refusal {
    Refusal::at(ErrorCode::BadInput, field, message)
}

/// One line of text: trimmed, not empty, at most `chars_max` characters.
///
/// # Errors
/// `BAD_INPUT`.
pub fn line(field: &str, text: &str, chars_max: usize) -> Result<String, Refusal> {
    let text = text.trim();
    if text.is_empty() {
        return Err(bad(field, format!("{field} can't be empty.")));
    }
    if text.chars().count() > chars_max {
        return Err(bad(
            field,
            format!("{field} has at most {chars_max} characters."),
        ));
    }
    if text.chars().any(char::is_control) {
        return Err(bad(
            field,
            format!("{field} is one line without control characters."),
        ));
    }
    Ok(text.to_owned())
}

/// One line of text that may be empty, which is the same as none.
///
/// # Errors
/// `BAD_INPUT`.
pub fn optional_line(
    field: &str,
    text: Option<&str>,
    chars_max: usize,
) -> Result<Option<String>, Refusal> {
    match text {
        Some(text) if !text.trim().is_empty() => line(field, text, chars_max).map(Some),
        _ => Ok(None),
    }
}

/// The same for an update: a text without anything in it clears.
///
/// # Errors
/// `BAD_INPUT`.
pub fn optional_change(
    field: &str,
    change: Change<String>,
    chars_max: usize,
) -> Result<Change<String>, Refusal> {
    Ok(match change {
        Change::Set(text) => {
            optional_line(field, Some(&text), chars_max)?.map_or(Change::Clear, Change::Set)
        }
        other => other,
    })
}

/// Text of any number of lines, not empty.
///
/// # Errors
/// `BAD_INPUT`.
pub fn lines(field: &str, text: &str, chars_max: usize) -> Result<String, Refusal> {
    let text = text.replace("\r\n", "\n");
    let text = text.trim();
    if text.is_empty() {
        return Err(bad(field, format!("{field} can't be empty.")));
    }
    if text.chars().count() > chars_max {
        return Err(bad(
            field,
            format!("{field} has at most {chars_max} characters."),
        ));
    }
    if text
        .chars()
        .any(|c| c.is_control() && c != '\n' && c != '\t')
    {
        return Err(bad(
            field,
            format!("{field} holds no control characters but tabs and line breaks."),
        ));
    }
    Ok(text.to_owned())
}

/// At most so many.
///
/// # Errors
/// `BAD_INPUT` where there are more.
pub fn at_most<T>(field: &str, values: &[T], max: usize) -> Result<(), Refusal> {
    if values.len() > max {
        return Err(bad(field, format!("{field} has at most {max} entries.")));
    }
    Ok(())
}

/// At most so many, each once; the first of equal ones counts.
///
/// # Errors
/// `BAD_INPUT` where there are more.
pub fn distinct<T: PartialEq + Clone>(
    field: &str,
    values: &[T],
    max: usize,
) -> Result<Vec<T>, Refusal> {
    at_most(field, values, max)?;
    let mut found: Vec<T> = Vec::with_capacity(values.len());
    for value in values {
        if !found.contains(value) {
            found.push(value.clone());
        }
    }
    Ok(found)
}

/// A mail address: as it is shown, and its canonical form, by which mail finds it.
///
/// # Errors
/// `BAD_INPUT`.
pub fn address(field: &str, text: &str) -> Result<(String, String), Refusal> {
    let key = AddressKey::parse(text)
        .ok_or_else(|| bad(field, format!("{field}: this is not a mail address.")))?;
    let text = text.trim();
    let shown = text
        .strip_prefix('<')
        .and_then(|text| text.strip_suffix('>'))
        .unwrap_or(text);
    Ok((shown.trim().to_owned(), key.into_string()))
}

/// The addresses of a lead or contact, in order, each once.
///
/// # Errors
/// `BAD_INPUT`.
pub fn addresses(field: &str, texts: &[String]) -> Result<Vec<AddressRow>, Refusal> {
    at_most(field, texts, ADDRESSES_MAX)?;
    let mut found: Vec<AddressRow> = Vec::with_capacity(texts.len());
    for text in texts {
        let (address, address_key) = address(field, text)?;
        if !found.iter().any(|row| row.address_key == address_key) {
            found.push(AddressRow {
                address,
                address_key,
                is_undeliverable: false,
            });
        }
    }
    Ok(found)
}

/// Phones of a contact, in order, each once. Any spelling that has a digit.
///
/// # Errors
/// `BAD_INPUT`.
pub fn phones(field: &str, texts: &[String]) -> Result<Vec<String>, Refusal> {
    let phone = |text: &String| {
        let text = line(field, text, PHONE_CHARS_MAX)?;
        if text.chars().any(|c| c.is_ascii_digit()) {
            Ok(text)
        } else {
            Err(bad(field, format!("{field}: this is not a phone number.")))
        }
    };
    let found = texts.iter().map(phone).collect::<Result<Vec<_>, _>>()?;
    distinct(field, &found, ADDRESSES_MAX)
}

/// Addresses and domains, in their canonical forms, sorted, each once.
///
/// # Errors
/// `BAD_INPUT`.
pub fn patterns(field: &str, texts: &[String]) -> Result<Vec<String>, Refusal> {
    at_most(field, texts, PATTERNS_MAX)?;
    let mut found = texts
        .iter()
        .map(|text| pattern(field, text))
        .collect::<Result<Vec<_>, _>>()?;
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// `someone@example.com`, a domain as `example.com`, `@example.com` or `*@example.com`, or its sub-domains: `*.example.com`.
fn pattern(field: &str, text: &str) -> Result<String, Refusal> {
    let text = text.trim();
    match AddressPattern::parse(
        text.strip_prefix('*')
            .filter(|rest| rest.starts_with('@'))
            .unwrap_or(text),
    ) {
        Some(AddressPattern::Address(key)) => Ok(key.into_string()),
        Some(AddressPattern::Domain(domain)) => Ok(domain),
        Some(AddressPattern::Subdomains(parent)) => Ok(format!("*.{parent}")),
        None => Err(bad(
            field,
            format!("{field}: each entry is a mail address, a domain, or *. and a domain."),
        )),
    }
}

/// Money: a decimal that is not negative, and three capital letters (ISO 4217).
///
/// # Errors
/// `BAD_INPUT`.
pub fn money(field: &str, money: &Money) -> Result<(String, String), Refusal> {
    let within = |name: &str, message: &str| Refusal {
        field: vec![field.to_owned(), name.to_owned()],
        ..bad(field, message)
    };
    let currency = money.currency.as_str();
    if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Err(within(
            "currency",
            "A currency is three capital letters, like EUR (ISO 4217).",
        ));
    }
    let (whole, decimals) = match money.amount.split_once('.') {
        Some((whole, decimals)) => (whole, Some(decimals)),
        None => (money.amount.as_str(), None),
    };
    let digits = |text: &str, max: usize| {
        !text.is_empty() && text.len() <= max && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !digits(whole, AMOUNT_DIGITS_MAX)
        || !decimals.is_none_or(|text| digits(text, AMOUNT_DECIMALS_MAX))
    {
        return Err(within(
            "amount",
            "An amount is a decimal like 1250 or 1250.50, of at most 18 digits before and 4 behind the point.",
        ));
    }
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        rest => rest,
    };
    let amount = decimals.map_or_else(
        || whole.to_owned(),
        |decimals| format!("{whole}.{decimals}"),
    );
    Ok((amount, currency.to_owned()))
}

/// A name of the IANA time zone database.
///
/// # Errors
/// `BAD_INPUT`.
pub fn time_zone(field: &str, text: &str) -> Result<String, Refusal> {
    text.parse::<chrono_tz::Tz>()
        .map(|zone| zone.name().to_owned())
        .map_err(|_unknown| {
            bad(
                field,
                format!("{field} is a name of the time zone database, like Europe/Berlin."),
            )
        })
}

/// The address of a picture: http or https.
///
/// # Errors
/// `BAD_INPUT`.
pub fn web_address(field: &str, text: &str) -> Result<String, Refusal> {
    let text = line(field, text, URL_CHARS_MAX)?;
    let is_web = url::Url::parse(&text)
        .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if is_web {
        Ok(text)
    } else {
        Err(bad(field, format!("{field} is an http or https address.")))
    }
}

/// A whole number within these bounds.
///
/// # Errors
/// `BAD_INPUT`.
pub fn number(field: &str, value: i64, min: i64, max: i64) -> Result<i64, Refusal> {
    if (min..=max).contains(&value) {
        Ok(value)
    } else {
        Err(bad(field, format!("{field} is from {min} to {max}.")))
    }
}

/// A moment to come.
///
/// # Errors
/// `BAD_INPUT`.
pub fn future(field: &str, at: Time, now: Time) -> Result<Time, Refusal> {
    if at > now {
        Ok(at)
    } else {
        Err(bad(field, format!("{field} lies in the past.")))
    }
}

/// The same refusals, about fields within this part of the input.
pub fn within(part: &'static [&'static str]) -> impl Fn(Refusal) -> Refusal {
    move |refusal| Refusal {
        field: part
            .iter()
            .map(|name| (*name).to_owned())
            .chain(refusal.field)
            .collect(),
        ..refusal
    }
}

/// Makes every check and goes on with all their values, or refuses with all their refusals.
macro_rules! check_all {
    ($($name:ident = $check:expr),+ $(,)?) => {
        let mut refusals: Vec<$crate::model::refusal::Refusal> = Vec::new();
        $(let $name = match $check {
            Ok(value) => Some(value),
            Err(refusal) => {
                refusals.push(refusal);
                None
            }
        };)+
        let ($(Some($name),)+) = ($($name,)+) else {
            return Err($crate::actions::ActionError::Refused(refusals));
        };
    };
}
pub(super) use check_all;
