//! TLS by rustls, with a verified certificate.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::WantsClientCert;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use zeroize::Zeroizing;

use crate::store::postgres::error::PostgresProblem;
use crate::store::postgres::password::read_private;

/// Makes TLS connections that trust certain certificates.
#[derive(Clone)]
pub(crate) struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Trusts the certificates of the file, or those of the system. Presents the certificate in the first
    /// file of `client`, with the key in the second one.
    pub(crate) fn new(
        file: Option<&Path>,
        client: Option<(&Path, &Path)>,
    ) -> Result<Self, PostgresProblem> {
        let roots = match file {
            Some(path) => roots_of_file(path),
            None => roots_of_system(),
        }
        .map_err(|error| PostgresProblem::Certificates(Arc::new(error)))?;
        let builder = trusting(roots)?;
        let config = match client {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => client_certificate(certificate, key)
                .and_then(|(chain, key)| {
                    builder.with_client_auth_cert(chain, key).map_err(io::Error::other)
                })
                .map_err(|error| PostgresProblem::ClientCertificate(Arc::new(error)))?,
        };
        Ok(Self(Arc::new(config)))
    }

    /// Trusts nothing: for addresses without TLS.
    pub(crate) fn unused() -> Result<Self, PostgresProblem> {
        Ok(Self(Arc::new(trusting(RootCertStore::empty())?.with_no_client_auth())))
    }
}

fn trusting(
    roots: RootCertStore,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, PostgresProblem> {
    // The process's default provider is the host's own choice.
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| PostgresProblem::Certificates(Arc::new(error)))?;
    Ok(builder.with_root_certificates(roots))
}

/// The chain of certificates in the first file, and the key in the second one.
fn client_certificate(
    certificate: &Path,
    key: &Path,
) -> io::Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| in_pem(certificate, error))?;
    if chain.is_empty() {
        return Err(in_file(certificate, &"there is no certificate in it"));
    }
    // libpq lets the group read a key of root's, as in a mounted secret.
    let text = Zeroizing::new(read_private(key, true).map_err(|error| in_file(key, &error))?);
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| in_pem(key, error))?;
    Ok((chain, key))
}

/// Repeats nothing of the file, which may contain a key. The parser's errors do.
fn in_pem(path: &Path, error: pem::Error) -> io::Error {
    match error {
        pem::Error::Io(error) => in_file(path, &error),
        pem::Error::NoItemsFound => {
            in_file(path, &"there is no key in it, or only an encrypted one")
        }
        _ => in_file(path, &"it is not valid PEM"),
    }
}

fn in_file(path: &Path, error: &dyn fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("`{}`: {error}", path.display()))
}

fn roots_of_file(path: &Path) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| in_pem(path, error))? {
        let certificate = certificate.map_err(|error| in_pem(path, error))?;
        roots.add(certificate).map_err(|error| in_file(path, &error))?;
    }
    if roots.is_empty() {
        return Err(in_file(path, &"there is no certificate in it"));
    }
    Ok(roots)
}

fn roots_of_system() -> io::Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    match found.errors.into_iter().next() {
        _ if !roots.is_empty() => Ok(roots),
        Some(error) => Err(io::Error::other(error)),
        None => Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the system has none; install them, or name a file with `sslrootcert`",
        )),
    }
}

/// TLS for one host.
pub(crate) struct Connector {
    config: Arc<ClientConfig>,
    host: String,
}

impl<S> MakeTlsConnect<S> for Tls
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Stream<S>;
    type TlsConnect = Connector;
    type Error = io::Error;

    /// It is also called for connections without TLS, which may have no name, so the name is not read yet.
    fn make_tls_connect(&mut self, host: &str) -> io::Result<Connector> {
        Ok(Connector { config: Arc::clone(&self.0), host: host.to_owned() })
    }
}

impl<S> TlsConnect<S> for Connector
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Stream<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let name = ServerName::try_from(self.host)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
            TlsConnector::from(self.config).connect(name, stream).await.map(Stream)
        })
    }
}

/// A TLS stream that the driver accepts.
pub(crate) struct Stream<S>(tokio_rustls::client::TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Stream<S> {
    /// The certificate is verified, so there is nobody in between to detect.
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn an_error_about_a_file_repeats_nothing_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let certificate = directory.path().join("client.crt");
        fs::write(&certificate, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
            .unwrap();
        let path = directory.path().join("client.pem");
        for content in [
            // Its line breaks were lost, as in a variable.
            "-----BEGIN PRIVATE KEY----- c2VjcmV0 -----END PRIVATE KEY-",
            "-----BEGIN PRIVATE KEY-----\nc2Vj*mV0\n-----END PRIVATE KEY-----\n",
            "-----BEGIN c2VjcmV0-----\n",
        ] {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let expected = format!("`{}`: it is not valid PEM", path.display());
            // One file may contain the certificate and the key.
            for error in [
                client_certificate(&certificate, &path).unwrap_err(),
                client_certificate(&path, &path).unwrap_err(),
                roots_of_file(&path).unwrap_err(),
            ] {
                assert_eq!(error.to_string(), expected, "{content}");
                assert_eq!(format!("{error:?}").matches("45, 45").count(), 0, "{error:?}");
            }
        }
        fs::write(
            &path,
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        )
        .unwrap();
        let error = client_certificate(&certificate, &path).unwrap_err().to_string();
        let expected =
            format!("`{}`: there is no key in it, or only an encrypted one", path.display());
        assert_eq!(error, expected);
    }

    #[test]
    fn only_root_shares_a_key_with_its_group() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("client.key");
        fs::write(&path, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
        let certificate = directory.path().join("client.crt");
        fs::write(&certificate, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
            .unwrap();
        let with_mode = |mode| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            client_certificate(&certificate, &path).map(drop).map_err(|error| error.to_string())
        };
        let others = |mode| {
            format!("`{}`: others can read it (mode {mode}); run: chmod 0600", path.display())
        };
        assert_eq!(with_mode(0o600), Ok(()));
        assert_eq!(with_mode(0o644), Err(others("0644")));
        if rustix::process::geteuid().is_root() {
            assert_eq!(with_mode(0o640), Ok(()));
            std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
        }
        assert_eq!(with_mode(0o640), Err(others("0640")));
    }
}
