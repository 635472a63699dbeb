//! Which hosts may be connected to (R1): every address that a name resolves to is vetted, and the
//! connection goes to the vetted address; the name serves TLS alone. So no setting of a user makes
//! this server knock on its own network, and a name that resolves differently the second time gains nothing.
//! Not for: opening connections to our own database or bus.

use super::error::{HostRefusal, MailError};
use crate::model::mailbox::{MailSecurity, MailServer};
use ipnet::IpNet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Ports that mail servers listen on; any other port of a public host must be listed by the operator.
const MAIL_PORTS: [u16; 5] = [25, 143, 465, 587, 993];

/// The port of HTTPS.
const WEB_PORT: u16 = 443;

/// A host name of DNS is at most this long; more is never looked up.
const HOST_BYTES_MAX: usize = 253;

/// More addresses than this of one name are not tried: each may cost a time-out.
const ADDRESSES_MAX: usize = 8;

/// What the operator allows beyond public hosts on mail ports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostPolicy {
    entries: Vec<Entry>,
    loopback: LoopbackUse,
}

/// Whether loopback may be connected to without being listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LoopbackUse {
    /// Mailroom itself listens on loopback only, so whoever can ask it is on this machine already.
    Allowed,
    #[default]
    ListedOnly,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    /// A name, in its ASCII form, and perhaps one port of it.
    Name(String, Option<u16>),
    /// One address or a network, and perhaps one port.
    Network(IpNet, Option<u16>),
}

/// A host as a user may write it, made canonical.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// An ASCII name.
    Name(String),
    Ip(IpAddr),
}

impl Host {
    /// Reads a name (also an international one), an IPv4 address in any notation that resolvers know, or
    /// an IPv6 address with or without brackets. `None`: not a host.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() || text.len() > HOST_BYTES_MAX || text.contains('%') {
            return None;
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Some(Self::Ip(ip));
        }
        match url::Host::parse(text).ok()? {
            url::Host::Domain(name) => {
                let name = name.trim_end_matches('.').to_owned();
                (!name.is_empty()).then_some(Self::Name(name))
            }
            url::Host::Ipv4(ip) => Some(Self::Ip(IpAddr::V4(ip))),
            url::Host::Ipv6(ip) => Some(Self::Ip(IpAddr::V6(ip))),
        }
    }

    /// The name or address as text, as TLS needs it.
    pub fn to_text(&self) -> String {
        match self {
            Self::Name(name) => name.clone(),
            Self::Ip(ip) => ip.to_string(),
        }
    }
}

/// Looks a name up; all its addresses.
pub type Resolve = fn(&str) -> io::Result<Vec<IpAddr>>;

/// Asks the system's resolver.
pub fn resolve_by_system(name: &str) -> io::Result<Vec<IpAddr>> {
    let found = (name, 0).to_socket_addrs()?;
    Ok(found.map(|address| address.ip()).collect())
}

impl HostPolicy {
    /// Reads the operator's list: hosts, `host:port`, addresses and networks, by commas. Empty: public hosts only.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut entries = Vec::new();
        for part in text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            let entry = parse_entry(part).ok_or_else(|| {
                format!("\"{part}\" is not a host, host:port, address or network")
            })?;
            entries.push(entry);
        }
        Ok(Self {
            entries,
            loopback: LoopbackUse::ListedOnly,
        })
    }

    /// The same list with another rule for loopback.
    #[must_use]
    pub fn with_loopback(mut self, loopback: LoopbackUse) -> Self {
        self.loopback = loopback;
        self
    }

    /// The same for a server of the web (a token server): its port is the one of HTTPS, or listed by the operator.
    pub fn vet_web(
        &self,
        server: &MailServer,
        resolve: Resolve,
        timeout: Duration,
    ) -> Result<Vec<SocketAddr>, MailError> {
        self.vet_ports(server, &[WEB_PORT], resolve, timeout)
    }

    /// Resolves the server's name and returns the addresses that may be connected to, in the resolver's order.
    /// Fails if none is left.
    pub fn vet(
        &self,
        server: &MailServer,
        resolve: Resolve,
        timeout: Duration,
    ) -> Result<Vec<SocketAddr>, MailError> {
        self.vet_ports(server, &MAIL_PORTS, resolve, timeout)
    }

    fn vet_ports(
        &self,
        server: &MailServer,
        ports: &[u16],
        resolve: Resolve,
        timeout: Duration,
    ) -> Result<Vec<SocketAddr>, MailError> {
        let host = Host::parse(&server.host).ok_or(MailError::InvalidHost)?;
        let found = match &host {
            Host::Ip(ip) => vec![*ip],
            Host::Name(name) => resolve_in_time(name.clone(), resolve, timeout)?,
        };
        if found.is_empty() {
            return Err(MailError::UnknownHost);
        }
        let mut allowed = Vec::new();
        let mut refusal = HostRefusal::Address;
        for ip in found
            .into_iter()
            .map(|ip| ip.to_canonical())
            .take(ADDRESSES_MAX)
        {
            match self.judge(&host, ip, (server, ports)) {
                Ok(()) => allowed.push(SocketAddr::new(ip, server.port)),
                Err(reason) => refusal = reason,
            }
        }
        if allowed.is_empty() {
            return Err(MailError::HostRefused(refusal));
        }
        Ok(allowed)
    }

    fn judge(
        &self,
        host: &Host,
        ip: IpAddr,
        (server, ports): (&MailServer, &[u16]),
    ) -> Result<(), HostRefusal> {
        if server.security == MailSecurity::Plain && !ip.is_loopback() {
            return Err(HostRefusal::PlainBeyondLoopback);
        }
        if ip.is_loopback() && self.loopback == LoopbackUse::Allowed {
            return Ok(());
        }
        if self
            .entries
            .iter()
            .any(|entry| entry.covers(host, ip, server.port))
        {
            return Ok(());
        }
        if !is_public(ip) {
            return Err(HostRefusal::Address);
        }
        if !ports.contains(&server.port) {
            return Err(HostRefusal::Port);
        }
        Ok(())
    }
}

impl Entry {
    fn covers(&self, host: &Host, ip: IpAddr, port: u16) -> bool {
        match self {
            Self::Name(name, only) => {
                matches!(host, Host::Name(asked) if asked == name)
                    && only.is_none_or(|only| only == port)
            }
            Self::Network(network, only) => {
                network.contains(&ip) && only.is_none_or(|only| only == port)
            }
        }
    }
}

fn parse_entry(part: &str) -> Option<Entry> {
    if let Ok(network) = part.parse::<IpNet>() {
        return Some(Entry::Network(network.trunc(), None));
    }
    // A bare IPv6 address has colons of its own, so it is tried before a port is split off.
    if part.parse::<IpAddr>().is_ok() {
        return Host::parse(part).map(|host| entry_of(host, None));
    }
    let (host, port) = match part.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() => (
            host,
            Some(port.parse::<u16>().ok().filter(|port| *port > 0)?),
        ),
        Some(_) => return None,
        None => (part, None),
    };
    if host.contains(['*', '/', '@']) {
        return None;
    }
    Host::parse(host).map(|host| entry_of(host, port))
}

fn entry_of(host: Host, port: Option<u16>) -> Entry {
    match host {
        Host::Name(name) => Entry::Name(name, port),
        Host::Ip(ip) => Entry::Network(IpNet::from(ip.to_canonical()), port),
    }
}

/// The system's resolver knows no time limit, so it runs on a thread that may outlive our patience.
fn resolve_in_time(
    name: String,
    resolve: Resolve,
    timeout: Duration,
) -> Result<Vec<IpAddr>, MailError> {
    let (sender, receiver) = mpsc::channel();
    let started = std::thread::Builder::new()
        .name("mail-resolve".to_owned())
        .spawn(move || {
            // Nobody listens any more once the time is over.
            let _ = sender.send(resolve(&name));
        });
    if started.is_err() {
        return Err(MailError::UnknownHost);
    }
    match receiver.recv_timeout(timeout) {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(_)) | Err(_) => Err(MailError::UnknownHost),
    }
}

/// Opens a connection to the first vetted address that answers within the time.
pub fn connect_vetted(addresses: &[SocketAddr], timeout: Duration) -> Result<TcpStream, MailError> {
    let deadline = Instant::now() + timeout;
    let mut last = io::ErrorKind::TimedOut;
    for (tried, address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        // The first of several must not use up the time of the others.
        let untried = u32::try_from(addresses.len().saturating_sub(tried))
            .unwrap_or(1)
            .max(1);
        let share = (left / untried).max(Duration::from_millis(1));
        match TcpStream::connect_timeout(address, share) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error.kind(),
        }
    }
    Err(MailError::Unreachable(last))
}

/// Whether an address is one of the public internet.
pub fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let is_shared = a == 100 && (64..128).contains(&b);
    let is_protocol = a == 192 && b == 0 && c == 0;
    let is_relay_6to4 = a == 192 && b == 88 && c == 99;
    let is_benchmark = a == 198 && (18..20).contains(&b);
    !(a == 0
        || a >= 224
        || ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || is_shared
        || is_protocol
        || is_relay_6to4
        || is_benchmark)
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let segments = ip.segments();
    let [first, second, ..] = segments;
    if segments.starts_with(&[0x64, 0xff9b, 0, 0, 0, 0]) {
        // NAT64 reaches the IPv4 address in its last 32 bits.
        let [.., a, b, c, d] = ip.octets();
        return is_public_v4(Ipv4Addr::new(a, b, c, d));
    }
    // Only 2000::/3 is given out; in it some prefixes lead elsewhere or nowhere.
    let is_global = first & 0xe000 == 0x2000;
    let is_special_2001 = first == 0x2001 && second < 0x200;
    let is_documentation =
        (first == 0x2001 && second == 0xdb8) || (first == 0x3fff && second < 0x1000);
    let is_6to4 = first == 0x2002;
    is_global && !is_special_2001 && !is_documentation && !is_6to4
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(host: &str, port: u16, security: MailSecurity) -> MailServer {
        MailServer {
            host: host.to_owned(),
            port,
            security,
        }
    }

    fn vet_by(
        policy: &str,
        host: &str,
        port: u16,
        resolve: Resolve,
    ) -> Result<Vec<SocketAddr>, MailError> {
        let policy = HostPolicy::parse(policy).unwrap();
        policy.vet(
            &server(host, port, MailSecurity::Tls),
            resolve,
            Duration::from_secs(5),
        )
    }

    /// A resolver that knows one public name, and leads every other one home.
    fn resolve(name: &str) -> io::Result<Vec<IpAddr>> {
        let found = match name {
            "mail.example.org" | "xn--bcher-kva.example" => vec!["93.184.215.14"],
            "mixed.example.org" => vec!["10.0.0.7", "93.184.215.14"],
            "nowhere.example.org" => return Err(io::ErrorKind::NotFound.into()),
            "empty.example.org" => vec![],
            _ => vec!["127.0.0.1", "10.0.0.7"],
        };
        Ok(found.into_iter().map(|ip| ip.parse().unwrap()).collect())
    }

    #[test]
    fn r1_no_spelling_of_a_private_host_gets_through() {
        let hosts = [
            "localhost",
            "LOCALHOST",
            "localhost.",
            "127.0.0.1",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "017700000001",
            "127.000.000.001",
            "0",
            "0.0.0.0",
            "10.0.0.1",
            "10.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.1",
            "192.0.2.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "192.88.99.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::1",
            "[::1]",
            "::",
            "[::]",
            "0:0:0:0:0:0:0:1",
            "::ffff:127.0.0.1",
            "[::ffff:7f00:1]",
            "::127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "2001::1",
            "2001:db8::1",
            "3fff::1",
            "100::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "5f00::1",
            "1::1",
            "internal",
            "rebound.example.org",
            "①②⑦.⓪.⓪.①",
            "127。0。0。1",
            "loopback.example.org",
        ];
        for host in hosts {
            let found = vet_by("", host, 993, resolve);
            assert_eq!(
                found,
                Err(MailError::HostRefused(HostRefusal::Address)),
                "{host}"
            );
        }
    }

    #[test]
    fn what_is_no_host_is_told_so() {
        for host in [
            "",
            " ",
            "a b",
            "http://a",
            "a/b",
            "a@b",
            "user:pass@a",
            "fe80::1%eth0",
            "a%00b",
            "[::1",
            "1.2.3.4.5:",
            "a\nb",
            "<a>",
        ] {
            assert_eq!(
                vet_by("", host, 993, resolve),
                Err(MailError::InvalidHost),
                "{host:?}"
            );
        }
        for host in ["nowhere.example.org", "empty.example.org"] {
            assert_eq!(
                vet_by("", host, 993, resolve),
                Err(MailError::UnknownHost),
                "{host}"
            );
        }
    }

    #[test]
    fn r1_public_hosts_on_mail_ports_and_listed_ones_are_connected_to_at_the_vetted_address() {
        let port_refused = Err(MailError::HostRefused(HostRefusal::Port));
        let address_refused = Err(MailError::HostRefused(HostRefusal::Address));
        let to = |addresses: &[&str]| {
            Ok(addresses
                .iter()
                .map(|address| address.parse().unwrap())
                .collect::<Vec<SocketAddr>>())
        };
        let rows = [
            ("", "mail.example.org", 993, to(&["93.184.215.14:993"])),
            ("", "MAIL.example.org.", 143, to(&["93.184.215.14:143"])),
            ("", "bücher.example", 993, to(&["93.184.215.14:993"])),
            ("", "mixed.example.org", 993, to(&["93.184.215.14:993"])),
            ("", "2606:4700::1111", 993, to(&["[2606:4700::1111]:993"])),
            (
                "",
                "64:ff9b::5db8:d70e",
                993,
                to(&["[64:ff9b::5db8:d70e]:993"]),
            ),
            ("", "mail.example.org", 6379, port_refused.clone()),
            (
                "mail.example.org",
                "mail.example.org",
                6379,
                to(&["93.184.215.14:6379"]),
            ),
            (
                "mail.example.org:6379",
                "mail.example.org",
                6379,
                to(&["93.184.215.14:6379"]),
            ),
            (
                "mail.example.org:6380",
                "mail.example.org",
                6379,
                port_refused,
            ),
            ("10.0.0.0/8", "10.0.0.7", 993, to(&["10.0.0.7:993"])),
            (
                "10.0.0.0/8",
                "mixed.example.org",
                993,
                to(&["10.0.0.7:993", "93.184.215.14:993"]),
            ),
            ("10.0.0.7:993", "10.0.0.7", 993, to(&["10.0.0.7:993"])),
            ("10.0.0.7:993", "10.0.0.7", 143, address_refused.clone()),
            ("10.0.0.7", "::ffff:10.0.0.7", 993, to(&["10.0.0.7:993"])),
            ("::1", "::1", 993, to(&["[::1]:993"])),
            ("[::1]:993, 10.0.0.0/8", "[::1]", 993, to(&["[::1]:993"])),
            (
                "internal",
                "INTERNAL",
                993,
                to(&["127.0.0.1:993", "10.0.0.7:993"]),
            ),
            ("internal", "other", 993, address_refused),
        ];
        for (policy, host, port, expected) in rows {
            assert_eq!(
                vet_by(policy, host, port, resolve),
                expected,
                "{host}:{port} where \"{policy}\" is listed"
            );
        }
    }

    #[test]
    fn r1_plain_goes_to_loopback_only_and_loopback_is_open_where_we_listen_there_ourselves() {
        let open = HostPolicy::parse("10.0.0.0/8")
            .unwrap()
            .with_loopback(LoopbackUse::Allowed);
        let vet = |host: &str, security| {
            open.vet(
                &server(host, 143, security),
                resolve,
                Duration::from_secs(5),
            )
        };
        let plain_refused = Err(MailError::HostRefused(HostRefusal::PlainBeyondLoopback));
        assert!(vet("127.0.0.1", MailSecurity::Plain).is_ok());
        assert!(vet("::1", MailSecurity::Plain).is_ok());
        assert!(vet("localhost", MailSecurity::Starttls).is_ok());
        assert_eq!(vet("10.0.0.7", MailSecurity::Plain), plain_refused);
        assert_eq!(vet("mail.example.org", MailSecurity::Plain), plain_refused);
        let home = vet("internal", MailSecurity::Plain).unwrap();
        assert_eq!(
            home,
            ["127.0.0.1:143".parse().unwrap()],
            "the private address of the same name is left out"
        );
    }

    #[test]
    fn the_operators_list_is_read_with_clear_errors() {
        for text in [
            "",
            " , ,",
            "a.example",
            "a.example:993, 10.0.0.0/8,[fd00::1]:143, fd00::/8, ::1, bücher.example:1",
        ] {
            assert!(HostPolicy::parse(text).is_ok(), "{text}");
        }
        for part in [
            "a b",
            "10.0.0.0/33",
            "a:0",
            "a:x",
            "a:70000",
            ":143",
            "*.example.org",
            "http://a",
            "a@b",
            "[::1",
        ] {
            let error = HostPolicy::parse(&format!("ok.example, {part}")).unwrap_err();
            assert_eq!(
                error,
                format!("\"{part}\" is not a host, host:port, address or network")
            );
        }
    }

    #[test]
    fn a_slow_resolver_is_not_waited_for() {
        let slow: Resolve = |_| {
            // A time-out that nothing ends early.
            let (_keep, silence) = mpsc::channel::<()>();
            let _ = silence.recv_timeout(Duration::from_secs(20));
            Ok(vec![])
        };
        let begun = Instant::now();
        let policy = HostPolicy::default();
        let found = policy.vet(
            &server("slow.example.org", 993, MailSecurity::Tls),
            slow,
            Duration::from_millis(50),
        );
        assert_eq!(found, Err(MailError::UnknownHost));
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}
