//! TLS towards mail servers: whom we trust, and the handshake. Host names are always verified.
//! Not for: serving TLS ourselves (a proxy in front does).

use super::error::{MailError, TlsFault};
use super::hosts::Host;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The authorities that mail servers' certificates are checked against; cheap to clone.
#[derive(Clone)]
pub struct TlsTrust {
    config: Arc<ClientConfig>,
}

/// Why the authorities could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum TlsTrustError {
    #[error("{} can't be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("the extra certificate authority is not a PEM certificate")]
    BadPem,
    #[error("TLS could not be set up")]
    Setup(#[source] rustls::Error),
}

impl TlsTrust {
    /// The system's authorities and, if given, the certificates of one more PEM file.
    pub fn load(extra_ca_pem: Option<&[u8]>) -> Result<Self, TlsTrustError> {
        let mut roots = RootCertStore::empty();
        // A machine without authorities still reaches loopback and whatever the extra file vouches for.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(pem) = extra_ca_pem {
            let mut added = 0;
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|_| TlsTrustError::BadPem)?;
                roots.add(certificate).map_err(|_| TlsTrustError::BadPem)?;
                added += 1;
            }
            if added == 0 {
                return Err(TlsTrustError::BadPem);
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsTrustError::Setup)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            config: Arc::new(config),
        })
    }

    /// The same, with the PEM in a file.
    ///
    /// # Errors
    /// Where it can't be read, or is none.
    pub fn load_file(extra_ca: Option<&Path>) -> Result<Self, TlsTrustError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|source| TlsTrustError::Unreadable {
                path: path.to_owned(),
                source,
            })
        };
        let pem = extra_ca.map(read).transpose()?;
        Self::load(pem.as_deref())
    }

    /// What clients of other protocols connect with.
    pub fn client_config(&self) -> &ClientConfig {
        &self.config
    }

    /// Encrypts an open connection; the server must prove that it is `host`.
    pub(super) fn encrypt(
        &self,
        host: &Host,
        mut socket: TcpStream,
    ) -> Result<StreamOwned<ClientConnection, TcpStream>, MailError> {
        let name = match host {
            Host::Name(name) => {
                ServerName::try_from(name.clone()).map_err(|_| MailError::InvalidHost)?
            }
            Host::Ip(ip) => ServerName::IpAddress((*ip).into()),
        };
        let mut connection = ClientConnection::new(Arc::clone(&self.config), name)
            .map_err(|_| MailError::Tls(TlsFault::Handshake))?;
        while connection.is_handshaking() {
            connection
                .complete_io(&mut socket)
                .map_err(|error| handshake_error(&error))?;
        }
        Ok(StreamOwned::new(connection, socket))
    }
}

fn handshake_error(error: &io::Error) -> MailError {
    let fault = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    MailError::Tls(match fault {
        Some(rustls::Error::InvalidCertificate(reason)) => certificate_fault(reason),
        _ => TlsFault::Handshake,
    })
}

fn certificate_fault(reason: &CertificateError) -> TlsFault {
    match reason {
        CertificateError::UnknownIssuer => TlsFault::UnknownIssuer,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            TlsFault::WrongHost
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => TlsFault::OutOfDate,
        _ => TlsFault::BadCertificate,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::PrivateKeyDer;
    use rustls::{ServerConfig, ServerConnection};
    use std::io::Read;
    use std::net::TcpListener;
    use std::thread;

    const AUTHORITY: &[u8] = include_bytes!("testdata/ca.pem");
    const KEY: &[u8] = include_bytes!("testdata/key.pem");

    /// Does one handshake with this certificate, and returns what the client said afterwards.
    fn serve(listener: TcpListener, certificate: &'static [u8]) -> thread::JoinHandle<Vec<u8>> {
        let chain = CertificateDer::pem_slice_iter(certificate)
            .collect::<Result<Vec<_>, _>>()
            .unwrap();
        let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        thread::spawn(move || {
            let (socket, _) = listener.accept().unwrap();
            let connection = ServerConnection::new(Arc::new(config)).unwrap();
            let mut stream = StreamOwned::new(connection, socket);
            let mut said = Vec::new();
            // The client hangs up as it likes; what it said before counts.
            let _ = stream.read_to_end(&mut said);
            said
        })
    }

    #[test]
    fn nothing_is_said_to_a_server_that_is_not_the_one_it_claims_to_be() {
        let localhost = include_bytes!("testdata/localhost.pem").as_slice();
        let other_host = include_bytes!("testdata/other_host.pem").as_slice();
        let expired = include_bytes!("testdata/expired.pem").as_slice();
        let self_signed = include_bytes!("testdata/self_signed.pem").as_slice();
        let rows = [
            (
                "the right one",
                localhost,
                "localhost",
                Some(AUTHORITY),
                None,
            ),
            (
                "the right one, by address",
                localhost,
                "127.0.0.1",
                Some(AUTHORITY),
                None,
            ),
            (
                "a certificate for another host",
                other_host,
                "localhost",
                Some(AUTHORITY),
                Some(TlsFault::WrongHost),
            ),
            (
                "a certificate for another address",
                localhost,
                "127.0.0.2",
                Some(AUTHORITY),
                Some(TlsFault::WrongHost),
            ),
            (
                "an expired certificate",
                expired,
                "localhost",
                Some(AUTHORITY),
                Some(TlsFault::OutOfDate),
            ),
            (
                "a certificate of its own making",
                self_signed,
                "localhost",
                Some(AUTHORITY),
                Some(TlsFault::UnknownIssuer),
            ),
            (
                "an authority that nobody vouched for",
                localhost,
                "localhost",
                None,
                Some(TlsFault::UnknownIssuer),
            ),
        ];
        for (what, certificate, host, authority, expected) in rows {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let server = serve(listener, certificate);
            let trust = TlsTrust::load(authority).unwrap();
            let found = trust.encrypt(&Host::parse(host).unwrap(), socket);
            assert_eq!(found.err(), expected.map(MailError::Tls), "{what}");
            assert_eq!(server.join().unwrap(), b"", "{what}");
        }
    }

    #[test]
    fn an_extra_authority_that_is_none_is_told_so() {
        for pem in [
            b"".as_slice(),
            b"hello",
            KEY,
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            assert!(matches!(
                TlsTrust::load(Some(pem)),
                Err(TlsTrustError::BadPem)
            ));
        }
    }
}
