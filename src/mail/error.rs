//! What can go wrong between us and a mail server, and what to do about it.
//! No variant carries what the server said: its words may hold secrets or be a stranger's.
//! Not for: faults of a mail's content; those are data (`parse::MailProblem`).

use std::io;

/// The step at which a connection failed (R1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailStep {
    /// Resolving the host name.
    Name,
    /// Vetting the host's addresses.
    HostRefused,
    /// Opening the connection.
    Connect,
    /// Encrypting it.
    Tls,
    /// Logging in.
    Login,
    /// Listing or opening folders.
    Listing,
    /// Anything later.
    Protocol,
}

impl MailStep {
    /// The `ErrorCode` of the GraphQL contract that names this step.
    pub const fn error_code(self) -> &'static str {
        match self {
            Self::Name => "MAILBOX_NAME",
            Self::HostRefused => "MAILBOX_HOST_REFUSED",
            Self::Connect | Self::Protocol => "MAILBOX_CONNECT",
            Self::Tls => "MAILBOX_TLS",
            Self::Login => "MAILBOX_LOGIN",
            Self::Listing => "MAILBOX_LISTING",
        }
    }
}

/// Why a host may not be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostRefusal {
    /// It is (or resolves only to) an address that is not public and not on the operator's list.
    Address,
    /// The port is no mail port and not on the operator's list.
    Port,
    /// Unencrypted connections go to loopback only.
    PlainBeyondLoopback,
}

/// Why encrypting failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFault {
    /// The certificate's issuer is not trusted.
    UnknownIssuer,
    /// The certificate is for another host.
    WrongHost,
    /// The certificate is expired or not yet valid.
    OutOfDate,
    /// Another fault of the certificate.
    BadCertificate,
    /// The two sides could not agree, or the server does not speak TLS on this port.
    Handshake,
    /// The server refused STARTTLS.
    StarttlsRefused,
    /// The server sent more than its answer to STARTTLS: someone may be in between.
    StarttlsInjection,
}

/// A failed exchange with a mail server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    #[error("the host name is not valid")]
    InvalidHost,
    #[error("the host name could not be resolved")]
    UnknownHost,
    #[error("{}", refusal_text(*.0))]
    HostRefused(HostRefusal),
    #[error("the server could not be reached: {}", unreachable_text(*.0))]
    Unreachable(io::ErrorKind),
    #[error("{}", tls_text(*.0))]
    Tls(TlsFault),
    #[error("the server refused the login")]
    LoginRefused,
    #[error("the server offers no way to log in with this kind of secret")]
    LoginUnsupported,
    #[error("the address of the token server can't be used")]
    InvalidTokenUrl,
    /// The token server takes the refresh token no more.
    #[error("the permission to read this mailbox was withdrawn or has ended")]
    GrantGone,
    #[error("the token server does not know this client id or secret")]
    ClientRefused,
    #[error("the server is busy and asks to come back later")]
    Busy {
        step: MailStep,
        backoff_seconds: Option<u64>,
    },
    #[error("the server refused the command {command}")]
    Refused {
        step: MailStep,
        command: &'static str,
    },
    #[error("the connection was lost")]
    ConnectionLost { step: MailStep },
    #[error("the server did not answer in time")]
    TimedOut { step: MailStep },
    /// The server broke the protocol; the stream is out of step.
    #[error("the server's answer can't be understood: {what}")]
    Protocol { step: MailStep, what: &'static str },
    /// The server counts a folder's mails anew each time it is looked at.
    #[error("the server numbers a folder's mails anew each time")]
    Unstable { step: MailStep },
    /// A mail is larger than the caller's limit; the stream is out of step.
    #[error("a mail of {announced_bytes} bytes is above the limit")]
    TooBig {
        uid: Option<u32>,
        announced_bytes: u64,
    },
}

impl MailError {
    /// At which step it failed.
    pub const fn step(&self) -> MailStep {
        match self {
            Self::InvalidHost | Self::UnknownHost => MailStep::Name,
            Self::HostRefused(_) => MailStep::HostRefused,
            Self::Unreachable(_) => MailStep::Connect,
            Self::Tls(_) => MailStep::Tls,
            Self::LoginRefused
            | Self::LoginUnsupported
            | Self::InvalidTokenUrl
            | Self::GrantGone
            | Self::ClientRefused => MailStep::Login,
            Self::Busy { step, .. }
            | Self::Refused { step, .. }
            | Self::ConnectionLost { step }
            | Self::TimedOut { step }
            | Self::Protocol { step, .. }
            | Self::Unstable { step } => *step,
            Self::TooBig { .. } => MailStep::Protocol,
        }
    }

    /// Whether trying again later, unchanged, can help. A refused login is never retried by itself.
    pub const fn is_temporary(&self) -> bool {
        match self {
            Self::UnknownHost
            | Self::Unreachable(_)
            | Self::Busy { .. }
            | Self::ConnectionLost { .. }
            | Self::TimedOut { .. }
            | Self::Protocol { .. }
            | Self::Tls(TlsFault::Handshake) => true,
            Self::InvalidHost
            | Self::HostRefused(_)
            | Self::Tls(_)
            | Self::LoginRefused
            | Self::LoginUnsupported
            | Self::InvalidTokenUrl
            | Self::GrantGone
            | Self::ClientRefused
            | Self::Refused { .. }
            | Self::Unstable { .. }
            | Self::TooBig { .. } => false,
        }
    }

    /// Whether the session can still be used. After anything else the caller reconnects.
    pub const fn keeps_session(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                step: MailStep::Listing | MailStep::Protocol,
                ..
            } | Self::Busy {
                step: MailStep::Listing | MailStep::Protocol,
                ..
            }
        )
    }

    /// How long the server asked us to stay away, in seconds.
    pub const fn backoff_hint_seconds(&self) -> Option<u64> {
        match self {
            Self::Busy {
                backoff_seconds, ..
            } => *backoff_seconds,
            _ => None,
        }
    }

    /// The UID that the fault is about, if it is known.
    pub const fn uid(&self) -> Option<u32> {
        match self {
            Self::TooBig { uid, .. } => *uid,
            _ => None,
        }
    }

    /// What the mailbox's owner can do about it.
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::InvalidHost => {
                "Check the spelling of the host; give a name like imap.example.org, without a scheme or path."
            }
            Self::UnknownHost => {
                "Check the spelling of the host, and that this server's DNS works."
            }
            Self::HostRefused(HostRefusal::Address) => {
                "Private and loopback hosts are refused unless the operator lists them in MAILROOM_ALLOW_HOSTS."
            }
            Self::HostRefused(HostRefusal::Port) => {
                "Use a mail port (143 or 993; 25, 465 or 587 to send), or have the operator list host:port in MAILROOM_ALLOW_HOSTS."
            }
            Self::HostRefused(HostRefusal::PlainBeyondLoopback) => {
                "Choose TLS or STARTTLS: unencrypted connections are allowed to this machine only."
            }
            Self::Unreachable(_) => {
                "Check host, port and firewall; the server may be down for the moment."
            }
            Self::Tls(TlsFault::UnknownIssuer) => {
                "The server's certificate is not signed by an authority this machine trusts; the operator can add one."
            }
            Self::Tls(TlsFault::WrongHost) => {
                "Use the host name that the server's certificate is made out to."
            }
            Self::Tls(TlsFault::OutOfDate) => {
                "The server's certificate is out of date; its administrator must renew it."
            }
            Self::Tls(TlsFault::BadCertificate) => {
                "The server's certificate is faulty; ask its administrator."
            }
            Self::Tls(TlsFault::Handshake) => {
                "Check that port and security belong together: 993 is TLS, 143 is STARTTLS."
            }
            Self::Tls(TlsFault::StarttlsRefused) => {
                "The server offers no STARTTLS on this port; use TLS on port 993."
            }
            Self::Tls(TlsFault::StarttlsInjection) => {
                "Something between here and the server interferes with STARTTLS; use TLS on port 993."
            }
            Self::LoginRefused => {
                "Check login and password. With two-factor login, make an app password or connect with OAuth2."
            }
            Self::LoginUnsupported => {
                "The server wants another kind of secret: try an access token instead of a password, or the reverse."
            }
            Self::InvalidTokenUrl => "Give the https address of the provider's token server.",
            Self::GrantGone => {
                "Sign in at the mail provider again, and connect the mailbox with what that gives (transferMailbox keeps everything else)."
            }
            Self::ClientRefused => {
                "Check the client id and secret of the application that is registered with the mail provider."
            }
            Self::Busy { .. } => {
                "Nothing to do: it is tried again by itself. Other mail programs on this account use up its connections."
            }
            Self::Refused {
                step: MailStep::Listing,
                ..
            } => "Check that the account may use IMAP and that the folder still exists.",
            Self::Refused { .. } => {
                "The server refused what it should allow; if it stays so, ask its administrator."
            }
            Self::ConnectionLost { .. } | Self::TimedOut { .. } => {
                "Nothing to do: it is tried again by itself. If it stays so, check the network and the server."
            }
            Self::Protocol { .. } => {
                "Check that this is an IMAP server. It is tried again by itself; a single mail that causes it is set aside."
            }
            Self::Unstable { .. } => {
                "The server can't keep track of its mails (UIDVALIDITY): its administrator must repair it. Until then the folder is looked through every ten minutes."
            }
            Self::TooBig { .. } => {
                "This mail is above the size limit; it is set aside and the rest goes on."
            }
        }
    }

    /// From an input/output error on an open connection.
    pub(super) fn from_io(error: &io::Error, step: MailStep) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::TimedOut { step },
            io::ErrorKind::InvalidData => Self::Protocol {
                step,
                what: "malformed line",
            },
            _ => Self::ConnectionLost { step },
        }
    }
}

fn refusal_text(refusal: HostRefusal) -> &'static str {
    match refusal {
        HostRefusal::Address => "this host may not be connected to from here",
        HostRefusal::Port => "this port may not be connected to from here",
        HostRefusal::PlainBeyondLoopback => "unencrypted connections are allowed to loopback only",
    }
}

fn unreachable_text(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "no answer",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "no route",
        _ => "connection failed",
    }
}

fn tls_text(fault: TlsFault) -> &'static str {
    match fault {
        TlsFault::UnknownIssuer => "the server's certificate is not trusted",
        TlsFault::WrongHost => "the server's certificate is for another host",
        TlsFault::OutOfDate => "the server's certificate is out of date",
        TlsFault::BadCertificate => "the server's certificate is faulty",
        TlsFault::Handshake => "no encrypted connection could be agreed on",
        TlsFault::StarttlsRefused => "the server refused STARTTLS",
        TlsFault::StarttlsInjection => "the answer to STARTTLS was tampered with",
    }
}
