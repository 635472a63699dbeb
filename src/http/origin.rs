//! Which pages may talk to us. A browser names the page's origin; programs send none.

use url::Url;

/// The origins beside our own that the operator allows.
#[derive(Debug, Clone, Default)]
pub struct AllowedOrigins {
    /// As a browser writes them: scheme, host, and the port where it is not the scheme's own.
    exact: Vec<String>,
}

impl AllowedOrigins {
    /// Takes origins such as `https://crm.example.com`; the error is the first that is none.
    pub fn parse(origins: &[String]) -> Result<Self, String> {
        let exact = origins
            .iter()
            .map(|origin| serialized(origin).ok_or_else(|| origin.clone()))
            .collect::<Result<_, _>>()?;
        Ok(Self { exact })
    }

    /// Whether the operator named this origin.
    pub fn lists(&self, origin: &str) -> bool {
        serialized(origin).is_some_and(|origin| self.exact.contains(&origin))
    }

    /// Whether a page of this origin may open a socket to the server it calls `host` (its `Host`
    /// header). The handshake has no same-origin rule of its own, so it is made here.
    pub fn permits(&self, origin: Option<&str>, host: Option<&str>) -> bool {
        let Some(origin) = origin else { return true };
        self.lists(origin) || host.is_some_and(|host| is_same(origin, host))
    }
}

fn serialized(origin: &str) -> Option<String> {
    let url = Url::parse(origin).ok()?;
    let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let is_web = matches!(url.scheme(), "http" | "https");
    (is_bare && is_web && url.username().is_empty()).then(|| url.origin().ascii_serialization())
}

/// The scheme is left out: a proxy that speaks TLS for us hides it.
fn is_same(origin: &str, host: &str) -> bool {
    let Some(origin) = serialized(origin).and_then(|origin| Url::parse(&origin).ok()) else {
        return false;
    };
    let Ok(ours) = Url::parse(&format!("{}://{host}/", origin.scheme())) else {
        return false;
    };
    origin.host() == ours.host() && origin.port_or_known_default() == ours.port_or_known_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_may_connect_from_our_own_or_a_named_origin() {
        let allowed = AllowedOrigins::parse(&["https://crm.example.com".to_owned()]).unwrap();
        let rows = [
            ("a program sends none", None, true),
            ("our own page", Some("http://127.0.0.1:8080"), true),
            (
                "our own page behind a proxy with TLS",
                Some("https://127.0.0.1:8080"),
                true,
            ),
            ("a named one", Some("https://crm.example.com"), true),
            (
                "a named one with its default port",
                Some("https://crm.example.com:443"),
                true,
            ),
            (
                "a named host by another scheme",
                Some("http://crm.example.com"),
                false,
            ),
            (
                "another port of our host",
                Some("http://127.0.0.1:9999"),
                false,
            ),
            ("a stranger", Some("https://evil.example"), false),
            (
                "a look-alike",
                Some("https://crm.example.com.evil.example"),
                false,
            ),
            ("a sandboxed page", Some("null"), false),
            ("a file", Some("file://"), false),
            ("nonsense", Some("x"), false),
        ];
        for (says, origin, wanted) in rows {
            assert_eq!(
                allowed.permits(origin, Some("127.0.0.1:8080")),
                wanted,
                "{says}"
            );
        }
        assert!(!allowed.permits(Some("http://127.0.0.1:8080"), None));
        assert!(AllowedOrigins::parse(&["crm.example.com".to_owned()]).is_err());
    }
}
