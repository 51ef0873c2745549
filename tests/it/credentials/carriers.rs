//! What got past other systems as a bearer token, on every carrier, as bytes over HTTP/1.1 and over HTTP/2. Each
//! row has one status, the same challenges and the same body wherever it is sent.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use axum::middleware::map_response;
use axum::routing::any;
use axum::{Router, body::Body};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use h2::ext::Protocol;
use opencode_auth::{
    AuthLayer, CredentialSources, Denial, Expiry, MemoryTokenStore, NewToken, Principal, Tickets,
    Token,
};
use time::UtcDateTime;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt as _;

use crate::http2;
use crate::marked::{Marks, routes};
use crate::recorder::Recorder;
use crate::support::{Received, bearer, hexadecimal};

const ABSENT: &[&str] = &[r#"Bearer realm="opencode""#, BASIC];
const INVALID: &[&str] = &[r#"Bearer realm="opencode", error="invalid_token""#, BASIC];
const BASIC: &str = r#"Basic realm="opencode", charset="UTF-8""#;
const LIMIT: Duration = Duration::from_secs(10);

/// How a client sends a token, or a ticket.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    Bearer,
    Basic,
    Query,
    QueryBasic,
    ProtocolPair,
    Protocol,
    Header,
    Ticket,
}

const FORMS: [Form; 8] = [
    Form::Bearer,
    Form::Basic,
    Form::Query,
    Form::QueryBasic,
    Form::ProtocolPair,
    Form::Protocol,
    Form::Header,
    Form::Ticket,
];

/// A part of a request: a header line or a query parameter.
enum Part {
    Header(&'static str, Vec<u8>),
    Parameter(String),
}

impl Form {
    /// The part that carries this text.
    fn part(self, text: &[u8]) -> Part {
        let with_user = || STANDARD.encode([b"user:", text].concat());
        let escaped = |text: &[u8]| {
            text.iter().fold(String::new(), |mut escaped, byte| {
                if byte.is_ascii_alphanumeric() || b"-_".contains(byte) {
                    escaped.push(char::from(*byte));
                } else {
                    write!(escaped, "%{byte:02X}").unwrap();
                }
                escaped
            })
        };
        let after = |prefix: &str| [prefix.as_bytes(), text].concat();
        match self {
            Self::Bearer => Part::Header("authorization", after("Bearer ")),
            Self::Basic => {
                Part::Header("authorization", format!("Basic {}", with_user()).into_bytes())
            }
            Self::Query => Part::Parameter(format!("auth_token={}", escaped(text))),
            Self::QueryBasic => {
                Part::Parameter(format!("auth_token={}", escaped(with_user().as_bytes())))
            }
            Self::ProtocolPair => Part::Header("sec-websocket-protocol", after("bearer, ")),
            Self::Protocol => Part::Header("sec-websocket-protocol", after("opencode.bearer.")),
            Self::Header => Part::Header("x-opencode-token", text.to_vec()),
            Self::Ticket => Part::Parameter(format!("ticket={}", escaped(text))),
        }
    }

    /// Whether the sources look at it.
    fn is_on(self, sources: Sources) -> bool {
        match self {
            Self::Bearer => true,
            Self::Basic => matches!(sources, Sources::Basic | Sources::All),
            Self::Query | Self::QueryBasic => matches!(sources, Sources::Query | Sources::All),
            Self::ProtocolPair | Self::Protocol => {
                matches!(sources, Sources::Protocol | Sources::All)
            }
            Self::Header => matches!(sources, Sources::Header | Sources::All),
            Self::Ticket => matches!(sources, Sources::Tickets | Sources::All),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Sources {
    Bearer,
    Basic,
    Query,
    Protocol,
    Header,
    Tickets,
    All,
}

struct Server {
    address: SocketAddr,
    marks: Marks,
    store: MemoryTokenStore,
    tickets: Tickets,
    app: Router,
}

impl Server {
    async fn start(sources: Sources) -> Self {
        let (store, marks, tickets) = (MemoryTokenStore::new(), Marks::default(), Tickets::new());
        let own = HeaderName::from_static("x-opencode-token");
        let (bearer, opencode) = (CredentialSources::bearer(), CredentialSources::opencode());
        let sources = match sources {
            Sources::Bearer => bearer,
            Sources::Basic => bearer.basic(),
            Sources::Query => bearer.query("auth_token"),
            Sources::Protocol => bearer.websocket_protocol(),
            Sources::Header => bearer.header(own),
            Sources::Tickets => bearer.tickets(tickets.clone()),
            Sources::All => opencode.header(own).tickets(tickets.clone()),
        };
        // Tells a client the kind of the denial, which has no secret in any form.
        let tell = async |mut response: Response<Body>| {
            let denial = response.extensions().get::<Denial>().cloned();
            if let Some(denial) = denial {
                assert!(!format!("{denial:?} {}", denial.message()).contains("oct_"));
                let kind = HeaderValue::from_static(denial.kind());
                response.headers_mut().insert("x-kind", kind);
            }
            response
        };
        let app = routes(&marks)
            .route("/principal", any(async |principal: Principal| axum::Extension(principal)))
            .layer(AuthLayer::new(store.clone()).credentials(sources))
            .layer(map_response(tell));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = app.clone();
        tokio::spawn(async { axum::serve(listener, service).await.unwrap() });
        Self { address, marks, store, tickets, app }
    }

    /// A ticket for `/config`.
    async fn ticket(&self, token: &Token) -> Vec<u8> {
        let response = self.app.clone().oneshot(bearer("GET", "/principal", token)).await.unwrap();
        let principal = response.extensions().get::<Principal>().unwrap();
        let ticket = self.tickets.issue(principal, "/config", Duration::from_secs(60)).unwrap();
        ticket.expose_secret().as_bytes().to_vec()
    }

    async fn http_1(&self, parts: &[Part]) -> Received {
        let mut sent = format!("GET /config{} HTTP/1.1\r\n", query(parts)).into_bytes();
        // An upgrade that the handler does not make.
        sent.extend_from_slice(b"Host: h\r\nConnection: close\r\nUpgrade: websocket\r\n");
        for part in parts {
            if let Part::Header(name, value) = part {
                sent.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
            }
        }
        sent.extend_from_slice(b"\r\n");
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(&sent).await.unwrap();
        let mut received = Vec::new();
        let read = tokio::time::timeout(LIMIT, stream.read_to_end(&mut received));
        read.await.expect("the server hangs").unwrap();
        let received = String::from_utf8(received).unwrap();
        let (head, body) = received.split_once("\r\n\r\n").unwrap();
        let (status, lines) = head.split_once("\r\n").unwrap();
        let mut response = Response::new(());
        for line in lines.lines() {
            let (name, value) = line.split_once(": ").unwrap();
            let name: HeaderName = name.parse().unwrap();
            response.headers_mut().append(name, value.parse().unwrap());
        }
        let status = StatusCode::from_bytes(&status.as_bytes()[9..12]).unwrap();
        Received { status, headers: response.into_parts().0.headers, body: body.to_owned() }
    }

    /// A WebSocket handshake is an extended `CONNECT`.
    async fn http_2(&self, parts: &[Part]) -> Received {
        let client = http2::connect(self.address).await;
        let mut request = Request::new(());
        *request.method_mut() = "CONNECT".parse().unwrap();
        *request.uri_mut() = format!("http://h/config{}", query(parts)).parse().unwrap();
        request.extensions_mut().insert(Protocol::from_static("websocket"));
        for part in parts {
            if let Part::Header(name, value) = part {
                let value = HeaderValue::from_bytes(value).unwrap();
                request.headers_mut().append(*name, value);
            }
        }
        http2::send(&client, request).await
    }
}

fn query(parts: &[Part]) -> String {
    let parameters = parts.iter().filter_map(|part| match part {
        Part::Parameter(parameter) => Some(parameter.as_str()),
        Part::Header(..) => None,
    });
    let query = parameters.collect::<Vec<_>>().join("&");
    if query.is_empty() { query } else { format!("?{query}") }
}

/// What the response has to be.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Allowed,
    Absent,
    Malformed,
    Unknown,
    Expired,
    Ticket,
}

#[track_caller]
fn check(received: &Received, outcome: Outcome, offers_basic: bool, case: &str) {
    let (status, kind, name, challenges) = match outcome {
        Outcome::Allowed => (200, "", "", &[][..]),
        Outcome::Absent => (401, "credentials_absent", "UnauthorizedError", ABSENT),
        Outcome::Malformed => (401, "credentials_malformed", "UnauthorizedError", INVALID),
        Outcome::Unknown => (401, "token_unknown", "UnauthorizedError", INVALID),
        Outcome::Expired => (401, "token_expired", "UnauthorizedError", INVALID),
        Outcome::Ticket => (403, "ticket_invalid", "ForbiddenError", &[][..]),
    };
    assert_eq!(received.status, status, "{case}: {}", received.body);
    let sent = received.headers.get_all("www-authenticate").iter();
    let sent: Vec<_> = sent.map(|value| value.to_str().unwrap()).collect();
    let expected = if offers_basic { challenges } else { &challenges[..challenges.len().min(1)] };
    assert_eq!(sent, expected, "{case}");
    if outcome == Outcome::Allowed {
        return;
    }
    assert_eq!(received.header("x-kind"), Some(kind), "{case}");
    assert_eq!(received.header("content-type"), Some("application/json"), "{case}");
    assert_eq!(received.header("cache-control"), Some("no-store"), "{case}");
    let body = received.json();
    assert_eq!((&body["name"], &body["_tag"]), (&name.into(), &name.into()), "{case}");
    assert_eq!(body["message"], body["data"]["message"], "{case}");
}

#[tokio::test]
async fn every_row_has_the_same_outcome_on_every_carrier() {
    let server = Server::start(Sources::All).await;
    let created = server.store.create(NewToken::new().name("laptop")).unwrap();
    let good = created.token.expose_secret().as_bytes();
    let (deleted, rotated) = (
        server.store.create(NewToken::new().name("deleted")).unwrap().token,
        server.store.create(NewToken::new().name("rotated")).unwrap().token,
    );
    let (deleted_ticket, rotated_ticket) =
        (server.ticket(&deleted).await, server.ticket(&rotated).await);
    let _ = server.store.delete("deleted").unwrap();
    let _ = server.store.rotate("rotated").unwrap();
    // It expired in this second.
    let now = UtcDateTime::now();
    let (expired, record) =
        NewToken::new().expires(Expiry::At(now)).issue(now - time::Duration::hours(1)).unwrap();
    server.store.insert(record);
    let unknown = Token::generate().unwrap();
    let id = created.record.id();
    let digest = created.record.digest().as_bytes();

    let rows = |good: &[u8]| -> Vec<(&str, Vec<u8>)> {
        let with = |before: &[u8], after: &[u8]| [before, good, after].concat();
        let last = if good.ends_with(b"A") { b"B" } else { b"A" };
        vec![
            ("truncated", good[..good.len() - 1].to_vec()),
            ("without its first", good[1..].to_vec()),
            ("extended", with(b"", b"A")),
            ("extended in front", with(b"A", b"")),
            ("wrong checksum", [&good[..good.len() - 1], last].concat()),
            ("in upper case", good.to_ascii_uppercase()),
            ("twice", with(good, b"")),
            ("two words", with(b"", &[b" ", good].concat())),
            ("with a scheme", with(b"Bearer ", b"")),
            ("in quotes", with(b"\"", b"\"")),
            ("behind a name", with(b"token=", b"")),
            ("a space inside", [&good[..9], b" ", &good[9..]].concat()),
            ("a TAB inside", [&good[..9], b"\t", &good[9..]].concat()),
            ("escaped", [&good[..3], b"%5F", &good[4..]].concat()),
            ("a semicolon after it", with(b"", b";")),
            ("a colon before it", with(b"x:", b"")),
            ("obs-text", b"\xff\xfe\x80".to_vec()),
            ("obs-text after it", with(b"", b"\xa0")),
            ("UTF-8", "żółw".into()),
            ("a wide letter in it", [&good[..9], "Ａ".as_bytes(), &good[10..]].concat()),
            ("8 KB", vec![b'A'; 8_000]),
            ("8 KB in front", with(&[b'0'; 8_000], b"")),
            ("its name", b"laptop".to_vec()),
            ("its id", id.as_str().into()),
            ("its digest", hexadecimal(digest).into()),
            ("its digest with the algorithm", format!("sha256:{}", hexadecimal(digest)).into()),
            ("its digest as bytes", digest.map(|byte| byte | 0x80).to_vec()),
            ("null", b"null".to_vec()),
        ]
    };
    let recorder = Recorder::start();
    let (mut sent, mut allowed) = (0, 0);
    for form in FORMS {
        let is_ticket = form == Form::Ticket;
        let mut cases: Vec<(&str, Vec<Part>, Outcome)> = Vec::new();
        // The texts for which the carriers differ: a ticket is looked up, and then its token.
        let bad = if is_ticket { Outcome::Ticket } else { Outcome::Malformed };
        let ticket = server.ticket(&created.token).await;
        let text: &[u8] = if is_ticket { &ticket } else { good };
        for (row, text) in rows(text) {
            cases.push((row, vec![form.part(&text)], bad));
        }
        let empty = match form {
            Form::Query | Form::Ticket => Outcome::Absent,
            _ => Outcome::Malformed,
        };
        cases.push(("empty", vec![form.part(b"")], empty));
        cases.push(("nothing", vec![], Outcome::Absent));
        for (row, [one, two]) in [
            ("the same twice", [text, text]),
            ("good and bad", [text, b"x"]),
            ("bad and good", [b"x", text]),
            ("good and empty", [text, b""]),
            ("empty and good", [b"", text]),
        ] {
            cases.push((row, vec![form.part(one), form.part(two)], bad));
        }
        if is_ticket {
            cases.push(("the token", vec![form.part(good)], Outcome::Ticket));
            cases.push(("of a deleted token", vec![form.part(&deleted_ticket)], Outcome::Unknown));
            cases.push(("of a rotated token", vec![form.part(&rotated_ticket)], Outcome::Unknown));
        } else {
            let text = |token: &Token| vec![form.part(token.expose_secret().as_bytes())];
            cases.push(("unknown", text(&unknown), Outcome::Unknown));
            cases.push(("deleted", text(&deleted), Outcome::Unknown));
            cases.push(("rotated", text(&rotated), Outcome::Unknown));
            cases.push(("expired in this second", text(&expired), Outcome::Expired));
        }
        cases.push(("good", vec![form.part(text)], Outcome::Allowed));
        for (row, parts, outcome) in cases {
            for http_2 in [false, true] {
                let case = format!("{form:?}, {row}, HTTP/2: {http_2}");
                // A ticket is good once.
                let parts = match row {
                    "good" if is_ticket && http_2 => {
                        &vec![form.part(&server.ticket(&created.token).await)]
                    }
                    "of a deleted token" | "of a rotated token" if http_2 => continue,
                    _ => &parts,
                };
                let received =
                    if http_2 { server.http_2(parts).await } else { server.http_1(parts).await };
                // The query decides alone, so a dialog would not help.
                let is_query = matches!(form, Form::Query | Form::QueryBasic | Form::Ticket);
                let offers_basic = !is_query || outcome == Outcome::Absent;
                check(&received, outcome, offers_basic, &case);
                let marks = server.marks.take();
                assert_eq!(marks.len(), usize::from(outcome == Outcome::Allowed), "{case}");
                let told =
                    format!("{:?}{}{:?}", received.headers, received.body, recorder.take_own());
                // An extended `CONNECT` was accepted. It has to select what was offered: nothing but this.
                let selects = received.header("sec-websocket-protocol");
                let is_selected = form == Form::Protocol && http_2 && row == "good";
                let secret = str::from_utf8(&text[4..]).unwrap();
                assert_eq!(
                    told.matches(secret).count(),
                    usize::from(is_selected),
                    "{case}: {told}"
                );
                let is_selecting =
                    row == "good" && http_2 && matches!(form, Form::Protocol | Form::ProtocolPair);
                assert_eq!(selects.is_some(), is_selecting, "{case}");
                sent += 1;
                allowed += marks.len();
            }
        }
    }
    assert!(sent > 550 && allowed == 16, "{sent} sent, {allowed} allowed");
}

#[tokio::test]
async fn a_carrier_that_is_off_is_not_looked_at_and_not_told() {
    for sources in [
        Sources::Bearer,
        Sources::Basic,
        Sources::Query,
        Sources::Protocol,
        Sources::Header,
        Sources::Tickets,
    ] {
        let server = Server::start(sources).await;
        let token = server.store.create(NewToken::new()).unwrap().token;
        let offers_basic = matches!(sources, Sources::Basic);
        let recorder = Recorder::start();
        for form in FORMS {
            let ticket = server.ticket(&token).await;
            let text =
                if form == Form::Ticket { &ticket } else { token.expose_secret().as_bytes() };
            let told = |received: &Received| {
                format!("{:?}{}{:?}", received.headers, received.body, recorder.take_own())
            };
            // Alone it counts as absent. Beside a good token it changes nothing, also if it is a bad one.
            let good = || Form::Bearer.part(token.expose_secret().as_bytes());
            let is_off = !form.is_on(sources);
            let mut cases = vec![(vec![form.part(text)], is_off)];
            let shares_its_header = form == Form::Basic;
            if is_off && !shares_its_header {
                cases.push((vec![form.part(b"x"), good()], false));
                cases.push((vec![form.part(b"x"), form.part(b"y"), good()], false));
            }
            for (parts, is_absent) in cases {
                let case = format!("{form:?} with {sources:?}");
                let received = server.http_1(&parts).await;
                let outcome = if is_absent { Outcome::Absent } else { Outcome::Allowed };
                check(&received, outcome, offers_basic, &case);
                assert_eq!(server.marks.take().len(), usize::from(!is_absent), "{case}");
                let told = told(&received);
                assert!(!told.contains(str::from_utf8(&text[4..]).unwrap()), "{case}: {told}");
                assert!(!told.contains(&*STANDARD.encode(text)), "{case}: {told}");
            }
        }
    }
}
