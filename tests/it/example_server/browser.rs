//! A real browser in front of the example server, driven over the DevTools protocol.

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use opencode_auth::FileTokenStore;
use serde_json::{Value, json};
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket};

use super::Server;
use crate::support::example;

const LIMIT: Duration = Duration::from_secs(60);

/// A headless browser, which ends with the test.
struct Browser {
    child: Child,
    socket: WebSocket<MaybeTlsStream<TcpStream>>,
    last_id: u64,
    session: String,
    /// What the login dialog is answered with.
    password: Option<String>,
    dialogs: usize,
    _profile: tempfile::TempDir,
}

impl Browser {
    fn start() -> Option<Self> {
        let profile = tempfile::tempdir().unwrap();
        let start = |name: &str| {
            Command::new(name)
                .args([
                    "--headless=new",
                    "--no-sandbox",
                    "--disable-gpu",
                    "--disable-dev-shm-usage",
                ])
                .args(["--no-first-run", "--remote-debugging-port=0", "about:blank"])
                .arg(format!("--user-data-dir={}", profile.path().display()))
                .env("HOME", profile.path())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
        };
        let names = ["chromium", "chromium-browser", "google-chrome"];
        let Some(mut child) = names.into_iter().find_map(|name| start(name).ok()) else {
            eprintln!("skipped: no Chromium is installed");
            return None;
        };
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let listening = lines
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("DevTools listening on ").map(str::to_owned));
        let Some(address) = listening else {
            let _ = child.kill();
            let _ = child.wait();
            eprintln!("skipped: Chromium does not start here");
            return None;
        };
        let (socket, _) = tungstenite::connect(address).unwrap();
        if let MaybeTlsStream::Plain(stream) = socket.get_ref() {
            stream.set_read_timeout(Some(LIMIT)).unwrap();
        }
        let mut browser = Self {
            child,
            socket,
            last_id: 0,
            session: String::new(),
            password: None,
            dialogs: 0,
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", &attach);
        session["sessionId"].as_str().unwrap().clone_into(&mut browser.session);
        browser.call("Fetch.enable", &json!({ "handleAuthRequests": true }));
        Some(browser)
    }

    fn send(&mut self, method: &str, parameters: &Value) -> u64 {
        self.last_id += 1;
        let mut message = json!({ "id": self.last_id, "method": method, "params": parameters });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.socket.send(Message::text(message.to_string())).unwrap();
        self.last_id
    }

    /// Sends a command and returns its result. Requests of the page go on meanwhile.
    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        let id = self.send(method, parameters);
        loop {
            let message: Value =
                serde_json::from_str(self.socket.read().unwrap().to_text().unwrap()).unwrap();
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            let request = &message["params"]["requestId"];
            match message["method"].as_str() {
                Some("Fetch.requestPaused") => {
                    self.send("Fetch.continueRequest", &json!({ "requestId": request }));
                }
                Some("Fetch.authRequired") => {
                    self.dialogs += 1;
                    let answer = match &self.password {
                        Some(password) => json!({
                            "response": "ProvideCredentials", "username": "me", "password": password,
                        }),
                        None => json!({ "response": "CancelAuth" }),
                    };
                    let answer = json!({ "requestId": request, "authChallengeResponse": answer });
                    self.send("Fetch.continueWithAuth", &answer);
                }
                _ => {}
            }
        }
    }

    fn navigate(&mut self, url: &str) {
        self.call("Page.navigate", &json!({ "url": url }));
    }

    /// Waits until the text of an element starts so, and returns how long that took.
    fn wait_for(&mut self, element: &str, start: &str) -> Duration {
        let began = Instant::now();
        let expression = format!("document.querySelector({element:?})?.textContent ?? ''");
        loop {
            let result = self.call("Runtime.evaluate", &json!({ "expression": expression }));
            let text = result["result"]["value"].as_str().unwrap_or_default().to_owned();
            if text.starts_with(start) {
                return began.elapsed();
            }
            assert!(began.elapsed() < LIMIT, "{element} is {text:?} and not {start:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.call("Browser.close", &json!({}));
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_browser_signs_in_by_dialog_and_by_link_and_its_streams_end_with_the_token() {
    let binary = example("server");
    for by_link in [false, true] {
        let server = Server::start(&binary, &[]);
        let Some(mut browser) = Browser::start() else { return };
        let token = server.tokens()["ALL"].to_owned();
        let link = format!("http://{}/?auth_token={token}", server.address);
        if by_link {
            browser.navigate(&link);
        } else {
            browser.password = Some(token);
            browser.navigate(&format!("http://{}/", server.address));
        }
        browser.wait_for("#config", "200 {");
        browser.wait_for("#events", r#"{"properties":"#);
        browser.wait_for("#terminal", "echo hello");
        // One dialog signs in, and the browser sends the password with all requests after it.
        assert_eq!(browser.dialogs, usize::from(!by_link));

        let command =
            server.printed.lines().find(|line| line.contains("token delete read")).unwrap();
        let store = FileTokenStore::open(command.split('\'').nth(1).unwrap()).unwrap();
        browser.password = None;
        let _ = store.delete("all").unwrap();
        let terminal = browser.wait_for("#terminal", "closed");
        // The page's `EventSource` connects again and is denied: it stays closed.
        let events = browser.wait_for("#events", "ended");
        eprintln!(
            "by link: {by_link}; terminal closed after {terminal:?}, events after {events:?}"
        );

        // The link decides alone, so the browser would ask for a password again and again.
        browser.password = Some(server.tokens()["READ"].to_owned());
        let before = browser.dialogs;
        browser.navigate(&link);
        browser.wait_for("body", r#"{"name":"UnauthorizedError""#);
        assert_eq!(browser.dialogs, before);
    }
}
