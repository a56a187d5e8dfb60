//! Which certificates are trusted.
//!
//! The system's roots, the built-in ones and the user's own are trusted together, so a private authority can be added without
//! losing the public ones.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use crate::error::{Error, ErrorKind, Result};
use crate::session::stores::CertificateSettings;

/// What rustls needs to know. `master_host` is the one host whose certificate may bear the name that the settings give.
pub(super) fn client_config(
    settings: &CertificateSettings,
    master_host: &str,
) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = if settings.verify {
        let chain = WebPkiServerVerifier::builder_with_provider(
            Arc::new(roots(settings.pem.as_deref())?),
            Arc::clone(&provider),
        )
        .build()
        .map_err(|error| {
            Error::new(ErrorKind::Tls, "no root certificate can be used").with_source(error)
        })?;
        match &settings.name {
            None => chain,
            Some(name) => Arc::new(OtherName {
                chain,
                host: server_name(master_host)?,
                name: server_name(name)?,
            }),
        }
    } else {
        log::warn!(
            target: "determined",
            "certificates are not verified: anyone in between can read and change what is sent to {master_host}"
        );
        Arc::new(Unverified(Arc::clone(&provider)))
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::new(ErrorKind::Tls, "TLS cannot be set up").with_source(error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn server_name(name: &str) -> Result<ServerName<'static>> {
    ServerName::try_from(name.trim_matches(['[', ']']))
        .map(|name| name.to_owned())
        .map_err(|_| {
            Error::invalid_input(format!(
                "{name:?} is not a name that a certificate can bear"
            ))
        })
}

fn roots(own: Option<&[u8]>) -> Result<RootCertStore> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let system = rustls_native_certs::load_native_certs();
    for error in &system.errors {
        log::debug!(target: "determined", "some certificates of the system are left out: {error}");
    }
    roots.add_parsable_certificates(system.certs);
    let Some(own) = own else { return Ok(roots) };
    let unusable = |why: String| {
        Error::new(
            ErrorKind::Tls,
            format!("the given certificate cannot be used: {why}"),
        )
        .with_hint("it must be PEM text with the certificate of the authority (CA)")
    };
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(own) {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| unusable(error.to_string()))?;
        count += 1;
    }
    if count == 0 {
        return Err(unusable("there is no certificate in it".to_owned()));
    }
    Ok(roots)
}

/// A handshake that rustls refused, with what to try.
pub(super) fn handshake_error(error: &rustls::Error) -> Error {
    let said = |detail: String| Error::new(ErrorKind::Tls, detail);
    match error {
        // A signature that does not fit is by an authority of the same name as a trusted one, with another key.
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => said(
            "the master's certificate is signed by an authority that is not trusted".to_owned(),
        )
        .with_hint("name its CA certificate with LoginOptions::cert_path or DET_MASTER_CERT_FILE"),
        rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext {
            expected,
            presented,
        }) => {
            let names: Vec<&str> = presented.iter().map(|name| bare_name(name)).collect();
            said(format!(
                "the master's certificate is for {}, not for {}",
                names.join(", "),
                expected.to_str()
            ))
            .with_hint("if it is the right master, give the name with LoginOptions::cert_name or DET_MASTER_CERT_NAME")
        }
        rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { time, not_after }) => {
            said(format!(
                "the master's certificate has expired: it was valid until {}, and here it is {}",
                date(*not_after),
                date(*time)
            ))
        }
        rustls::Error::InvalidMessage(_) => said("what answers does not speak TLS".to_owned())
            .with_hint("is this an https port? A plain master is reached with http://"),
        other => said(format!("the TLS handshake failed: {other}")),
    }
}

/// The name alone of what is shown as `DnsName("det.example")` or `IpAddress(10.0.0.7)`.
fn bare_name(shown: &str) -> &str {
    let inner = shown.split_once('(').map_or(shown, |(_, inner)| inner);
    inner.trim_end_matches(')').trim_matches('"')
}

/// The day of a time, as in `2026-03-01`.
fn date(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    match jiff::Timestamp::from_second(seconds) {
        Ok(time) => time.strftime("%F").to_string(),
        Err(_) => format!("second {seconds} of the Unix epoch"),
    }
}

/// Verifies the master's certificate against another name than its host; everything else as usual.
#[derive(Debug)]
struct OtherName {
    chain: Arc<WebPkiServerVerifier>,
    host: ServerName<'static>,
    name: ServerName<'static>,
}

impl ServerCertVerifier for OtherName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let name = if *server_name == self.host {
            &self.name
        } else {
            server_name
        };
        self.chain
            .verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// Takes any certificate: `noverify`.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
