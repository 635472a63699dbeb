//! TLS towards mail servers: whom we trust, and the handshake. Host names are always verified.
//! Not for: serving TLS ourselves (a proxy in front does).

use super::error::{MailError, TlsFault};
use super::hosts::Host;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io;
use std::net::TcpStream;
use std::sync::Arc;

/// The authorities that mail servers' certificates are checked against; cheap to clone.
#[derive(Clone)]
pub struct TlsTrust {
    config: Arc<ClientConfig>,
}

/// Why the authorities could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum TlsTrustError {
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
