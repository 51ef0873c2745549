//! opencode's own clients, unmodified, against opencode 1.18.
//!
//! They are installed from npm, so this runs only if `OPENCODE_AUTH_TEST_CLIENTS` is set: to a directory that has
//! them already or will get them. `scripts/clients.sh` does it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use axum::body::Body;
use opencode_auth::Permissions;
use rustix::process::Signal;

use crate::support::{Gateway, basic, request, send};

const PACKAGES: [&str; 4] =
    ["opencode-ai@1.18", "@opencode-ai/sdk@1.18", "ws@8", "playwright-core@1"];

/// Where the clients are, or why not.
fn install() -> Result<PathBuf, String> {
    let Some(directory) = std::env::var_os("OPENCODE_AUTH_TEST_CLIENTS") else {
        return Err("OPENCODE_AUTH_TEST_CLIENTS is not set".to_owned());
    };
    let directory = PathBuf::from(directory);
    if !directory.join("node_modules/.bin/opencode").exists() {
        let npm = Command::new("npm")
            .args(["install", "--no-audit", "--no-fund", "--prefix"])
            .arg(&directory)
            .args(PACKAGES)
            .stdout(Stdio::null())
            .status();
        match npm {
            Ok(status) if status.success() => {}
            Ok(status) => return Err(format!("npm failed to install the clients: {status}")),
            Err(error) => return Err(format!("npm cannot be started: {error}")),
        }
    }
    for script in ["sdk.mjs", "browser.mjs"] {
        let source =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gateway/clients").join(script);
        std::fs::copy(source, directory.join(script)).unwrap();
    }
    Ok(directory)
}

struct Clients {
    directory: PathBuf,
    gateway: Gateway,
    url: String,
    read: String,
    /// The port of a page that the gateway was told of.
    page: u16,
}

impl Clients {
    fn start(directory: PathBuf) -> Self {
        let page = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let gateway = Gateway::spawn(|command| {
            let path = std::env::var_os("PATH").unwrap();
            let bin = directory.join("node_modules/.bin");
            let path = std::env::join_paths([bin].into_iter().chain(std::env::split_paths(&path)));
            command.env("PATH", path.unwrap()).arg(format!("--cors=http://localhost:{page}"));
        });
        let url = format!("http://{}", gateway.address);
        let read = gateway.token("viewer", Permissions::READ);
        Self { directory, gateway, url, read, page }
    }

    /// A program with a home of its own.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.directory)
            .env("HOME", self.gateway.path("client"))
            .env("TERM", "xterm-256color")
            .stdin(Stdio::null());
        for name in ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"] {
            command.env(name, self.gateway.path("client").join(name));
        }
        command
    }

    fn node(&self, script: &str, arguments: &[&str]) {
        let output = self.command("node").arg(script).args(arguments).output().unwrap();
        print!("{}", text(&output));
        assert!(output.status.success(), "{script}: {}", text(&output));
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// A terminal on a tmux server of its own.
struct Terminal<'a> {
    clients: &'a Clients,
    server: String,
}

impl<'a> Terminal<'a> {
    fn attach(clients: &'a Clients, token: &str, session: &str) -> Self {
        let server = format!("opencode-auth-{}", std::process::id());
        let terminal = Self { clients, server };
        let program = clients.directory.join("node_modules/.bin/opencode");
        let command =
            format!("{} attach {} -p {token} --session {session}", program.display(), clients.url);
        terminal.tmux(&["new-session", "-d", "-x", "120", "-y", "40", &command]);
        terminal
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        text(
            &self
                .clients
                .command("tmux")
                .args(["-L", &self.server])
                .args(arguments)
                .output()
                .unwrap(),
        )
    }

    #[track_caller]
    fn shows(&self, expected: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let screen = self.tmux(&["capture-pane", "-p"]);
            // Without a model there is an error in the place of the hint.
            let failed = expected == "esc interrupt" && screen.contains("[retrying");
            if screen.contains(expected) || failed {
                return;
            }
            assert!(Instant::now() < deadline, "`{expected}` is not on the screen:\n{screen}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_clients_work_with_a_token_as_their_password() {
    let directory = match install() {
        Ok(directory) => directory,
        Err(reason) => {
            println!("skipped: {reason}");
            return;
        }
    };
    let clients = Clients::start(directory);
    let (url, all, read) = (&*clients.url, &*clients.gateway.token, &*clients.read);
    clients.node("sdk.mjs", &[url, all, read]);

    let mut create = request(clients.gateway.address, "POST", "/session", &basic(all));
    *create.body_mut() = Body::from("{}");
    create.headers_mut().insert("content-type", "application/json".parse().unwrap());
    let session = send(create).await.json()["id"].as_str().unwrap().to_owned();

    // There is no model here, and it would be asked again and again.
    let run = |seconds: &str, arguments: &[&str]| {
        let opencode = clients.directory.join("node_modules/.bin/opencode");
        let mut command = clients.command("timeout");
        command
            .arg(seconds)
            .arg(opencode)
            .args(["run", "--attach", url])
            .args(arguments)
            .arg("hello");
        text(&command.output().unwrap())
    };
    let allowed = run("40", &["-p", all]);
    assert!(allowed.contains("build"), "no agent was started: {allowed}");
    let denied = run("40", &["-p", read, "--session", &session]);
    assert!(denied.contains("requires write"), "{denied}");
    println!("ok: opencode run --attach");

    // The screen breaks longer texts. The one that starts the agent comes last: the session is busy then.
    for (token, reply) in [(read, "does not allow"), (all, "esc interrupt")] {
        let terminal = Terminal::attach(&clients, token, &session);
        terminal.shows("ctrl+p commands");
        // The prompt takes keys a moment after it is drawn.
        std::thread::sleep(Duration::from_secs(2));
        terminal.tmux(&["send-keys", "hello there", "Enter"]);
        terminal.shows(reply);
    }
    println!("ok: opencode attach");

    match ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(|name| {
        std::env::split_paths(&std::env::var_os("PATH")?)
            .map(|path| path.join(name))
            .find(|path| path.exists())
    }) {
        Some(browser) => {
            let (browser, page) = (browser.display().to_string(), clients.page.to_string());
            clients.node("browser.mjs", &[&browser, url, &page, all, read]);
        }
        None => println!("skipped: no Chromium is installed"),
    }

    let Clients { mut gateway, .. } = clients;
    gateway.signal(Signal::INT);
    assert!(gateway.wait().success());
    let log = gateway.stderr();
    assert!(!log.contains(&gateway.token) && !log.contains("status=5"), "{log}");
}
