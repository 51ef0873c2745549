//! How the server tells its own client where it is: a file that only the user can read.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Where a running server is, and a token for it. The server removes the file when it ends.
pub(crate) struct Connection {
    file: Option<PathBuf>,
    address: SocketAddr,
    token: String,
}

impl Connection {
    /// Writes the file, with mode 0600 from its creation.
    pub(crate) fn announce(file: &Path, address: SocketAddr, token: &str) -> io::Result<Self> {
        if let Some(directory) = file.parent() {
            fs::create_dir_all(directory)?;
        }
        // A server that was killed left its file.
        match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let content = json!({ "url": format!("http://{address}"), "pid": std::process::id(), "token": token });
        options.open(file)?.write_all(content.to_string().as_bytes())?;
        Ok(Self { file: Some(file.to_owned()), address, token: token.to_owned() })
    }

    /// Reads the file of a running server.
    pub(crate) fn read(file: &Path) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let content: Value = serde_json::from_slice(&fs::read(file)?)?;
        let text = |field: &str| content[field].as_str().ok_or(format!("`{field}` is missing"));
        let address = text("url")?.trim_start_matches("http://").parse()?;
        Ok(Self { file: None, address, token: text("token")?.to_owned() })
    }

    /// One request, as any HTTP client would send it.
    pub(crate) async fn get(&self, path: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(self.address).await?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
            self.address, self.token,
        );
        stream.write_all(request.as_bytes()).await?;
        let mut response = String::new();
        stream.read_to_string(&mut response).await?;
        Ok(response)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            let _ = fs::remove_file(file);
        }
    }
}
