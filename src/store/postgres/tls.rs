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
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
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

/// The certificate with those that lead to its authority, and its key. Neither error repeats the key.
fn client_certificate(
    certificate: &Path,
    key: &Path,
) -> io::Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| in_file(certificate, &error))?;
    if chain.is_empty() {
        return Err(in_file(certificate, &"there is no certificate in it"));
    }
    // libpq lets the group read a key of root's, as in a mounted secret.
    let forbidden = if is_roots(key) { 0o037 } else { 0o077 };
    let text = Zeroizing::new(read_private(key, forbidden).map_err(|error| in_file(key, &error))?);
    let key =
        PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| in_file(key, &error))?;
    Ok((chain, key))
}

#[cfg(unix)]
fn is_roots(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;

    std::fs::metadata(path).is_ok_and(|metadata| metadata.uid() == 0)
}

#[cfg(not(unix))]
fn is_roots(_: &Path) -> bool {
    false
}

fn in_file(path: &Path, error: &dyn fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("`{}`: {error}", path.display()))
}

fn roots_of_file(path: &Path) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| in_file(path, &error))? {
        let certificate = certificate.map_err(|error| in_file(path, &error))?;
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
