//! Addresses as keys: the form in which they are compared, and patterns over them.
//! Not for: display; what stands in a mail is kept as it stands.

use super::hosts::Host;
use std::fmt;

/// By RFC 5321 a local part has at most 64 bytes and an address 254; some systems make longer ones.
const LOCAL_BYTES_MAX: usize = 128;
const ADDRESS_BYTES_MAX: usize = 320;

/// The canonical form of an address: the domain in ASCII (IDNA) and lower case, the local part folded. Two
/// addresses are the same client if and only if their keys are equal; `a+b@x` and `a@x` are not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressKey(String);

impl AddressKey {
    /// Reads an address, perhaps in angle brackets. `None`: it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text
            .strip_prefix('<')
            .and_then(|text| text.strip_suffix('>'))
            .unwrap_or(text)
            .trim();
        if text.len() > ADDRESS_BYTES_MAX {
            return None;
        }
        let (local, domain) = text.rsplit_once('@')?;
        let local = canonical_local(local)?;
        let domain = canonical_domain(domain)?;
        Some(Self(format!("{local}@{domain}")))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn into_string(self) -> String {
        self.0
    }

    /// What follows the `@`.
    pub fn domain(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(_, domain)| domain)
    }

    /// What precedes the `@`.
    pub fn local(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(local, _)| local)
    }
}

impl fmt::Display for AddressKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

fn canonical_local(local: &str) -> Option<String> {
    let quoted = local
        .strip_prefix('"')
        .and_then(|local| local.strip_suffix('"'));
    let text = match quoted {
        // Quoting that was not needed makes no other address.
        Some(inner) => inner.replace("\\\"", "\"").replace("\\\\", "\\"),
        None => local.to_owned(),
    };
    let is_special = |letter: char| {
        letter.is_whitespace() || letter.is_control() || "<>()[],;:\\\"@".contains(letter)
    };
    let is_plain = !text.contains(is_special);
    let is_good =
        !text.is_empty() && text.len() <= LOCAL_BYTES_MAX && !text.contains(char::is_control);
    if !is_good || (quoted.is_none() && !is_plain) {
        return None;
    }
    let folded = text.to_lowercase();
    Some(if is_plain {
        folded
    } else {
        format!("\"{}\"", folded.replace('\\', "\\\\").replace('"', "\\\""))
    })
}

/// A domain in ASCII and lower case, or an address literal in brackets.
fn canonical_domain(domain: &str) -> Option<String> {
    let domain = domain.trim().trim_end_matches('.');
    if let Some(literal) = domain
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
    {
        let literal = literal.to_ascii_lowercase();
        let ip = literal.strip_prefix("ipv6:").unwrap_or(&literal);
        return ip
            .parse::<std::net::IpAddr>()
            .ok()
            .map(|ip| format!("[{ip}]"));
    }
    if domain.contains(|letter: char| letter.is_whitespace() || letter.is_control()) {
        return None;
    }
    match Host::parse(domain)? {
        Host::Name(name)
            if name
                .split('.')
                .all(|label| !label.is_empty() && label.len() <= 63) =>
        {
            Some(name)
        }
        // "1.2.3.4" without brackets is no domain of mail.
        Host::Name(_) | Host::Ip(_) => None,
    }
}

/// An entry of a list of addresses and domains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddressPattern {
    /// One address.
    Address(AddressKey),
    /// A domain, without its sub-domains: `example.org` or `@example.org`.
    Domain(String),
    /// The sub-domains of a domain, without itself: `*.example.org`.
    Subdomains(String),
}

impl AddressPattern {
    /// Reads an entry as a person writes it. `None`: it is none of these.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let domain = text.strip_prefix('@').unwrap_or(text);
        if let Some(parent) = domain.strip_prefix("*.") {
            return canonical_domain(parent).map(Self::Subdomains);
        }
        if domain.contains('@') {
            return AddressKey::parse(text).map(Self::Address);
        }
        canonical_domain(domain).map(Self::Domain)
    }

    pub fn matches(&self, key: &AddressKey) -> bool {
        match self {
            Self::Address(address) => address == key,
            Self::Domain(domain) => key.domain() == domain,
            Self::Subdomains(parent) => key
                .domain()
                .strip_suffix(parent.as_str())
                .is_some_and(|before| before.len() > 1 && before.ends_with('.')),
        }
    }
}

/// Whether an address matches an entry of an exclusion list; an entry that is no pattern matches nothing.
pub fn matches_pattern(key: &AddressKey, pattern: &str) -> bool {
    AddressPattern::parse(pattern).is_some_and(|pattern| pattern.matches(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_one_canonical_form() {
        let rows = [
            ("Anna.Weber@Example.ORG", Some("anna.weber@example.org")),
            ("  <anna@example.org> ", Some("anna@example.org")),
            ("anna@bücher.example", Some("anna@xn--bcher-kva.example")),
            (
                "anna@xn--bcher-kva.example",
                Some("anna@xn--bcher-kva.example"),
            ),
            ("anna@example.org.", Some("anna@example.org")),
            ("anna+news@example.org", Some("anna+news@example.org")),
            ("\"anna\"@example.org", Some("anna@example.org")),
            (
                "\"anna weber\"@example.org",
                Some("\"anna weber\"@example.org"),
            ),
            ("ÄNNA@example.org", Some("änna@example.org")),
            ("root@localhost", Some("root@localhost")),
            ("a@[192.0.2.1]", Some("a@[192.0.2.1]")),
            ("a@[IPv6:2001:db8::1]", Some("a@[2001:db8::1]")),
            ("anna", None),
            ("@example.org", None),
            ("anna@", None),
            ("anna weber@example.org", None),
            ("anna@exa mple.org", None),
            ("a@b@example.org", None),
            ("anna@192.0.2.1", None),
            ("anna@example..org", None),
            ("anna\0@example.org", None),
            ("ceo@y.org<evil@x.org", None),
            ("", None),
        ];
        for (text, expected) in rows {
            assert_eq!(
                AddressKey::parse(text).as_ref().map(AddressKey::as_str),
                expected,
                "{text:?}"
            );
        }
        // The first letter is Cyrillic: the keys differ though they look alike.
        assert_ne!(
            AddressKey::parse("a@раypal.com"),
            AddressKey::parse("a@paypal.com")
        );
    }

    #[test]
    fn r18_exclusion_lists_name_addresses_domains_and_subdomains() {
        let rows = [
            ("anna@example.org", "anna@example.org", true),
            ("anna@example.org", "ANNA@Example.org", true),
            ("anna@example.org", "bob@example.org", false),
            ("anna@example.org", "example.org", true),
            ("anna@example.org", "@example.org", true),
            ("anna@sub.example.org", "example.org", false),
            ("anna@sub.example.org", "*.example.org", true),
            ("anna@a.b.example.org", "@*.example.org", true),
            ("anna@example.org", "*.example.org", false),
            ("anna@badexample.org", "*.example.org", false),
            ("anna@badexample.org", "example.org", false),
            ("anna@xn--bcher-kva.example", "bücher.example", true),
            ("anna@example.org", "", false),
            ("anna@example.org", "*", false),
            ("anna@example.org", "@", false),
        ];
        for (address, pattern, expected) in rows {
            let key = AddressKey::parse(address).unwrap();
            assert_eq!(
                matches_pattern(&key, pattern),
                expected,
                "{address} against {pattern:?}"
            );
        }
    }
}
