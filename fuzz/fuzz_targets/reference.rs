//! What a token and a bearer header are, written anew and as plainly as can be.

const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn base64url(bytes: &[u8]) -> Vec<u8> {
    let bit =
        |position: usize| bytes.get(position / 8).map_or(0, |byte| byte >> (7 - position % 8) & 1);
    (0..(bytes.len() * 8).div_ceil(6))
        .map(|sextet| (0..6).fold(0, |value, offset| value << 1 | bit(sextet * 6 + offset)))
        .map(|value| BASE64URL[usize::from(value)])
        .collect()
}

/// CRC-32 (IEEE), a bit at a time.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    })
}

/// The token with this random part.
pub fn token(random: [u8; 16]) -> Vec<u8> {
    with_checksum([b"oct_", &*base64url(&random)].concat())
}

/// The text with its checksum behind it.
pub fn with_checksum(mut text: Vec<u8>) -> Vec<u8> {
    text.extend(base64url(&crc32(&text).to_be_bytes()));
    text
}

/// Whether the text is a token: whether it is the token of the random part that it spells.
pub fn is_token(text: &[u8]) -> bool {
    if text.len() != 32 {
        return false;
    }
    let mut random = [0_u8; 16];
    for position in 0..128 {
        let character = text[4 + position / 6];
        let Some(value) = BASE64URL.iter().position(|known| *known == character) else {
            return false;
        };
        let bit = value >> (5 - position % 6) & 1;
        random[position / 8] |= (bit as u8) << (7 - position % 8);
    }
    text == token(random)
}

/// What a source presents: nothing, something that is not one token, or a token and how it came.
pub enum Read {
    Absent,
    Malformed,
    TicketInvalid,
    Token(Vec<u8>, &'static str),
}

fn token_or_malformed(text: &[u8], carrier: &'static str) -> Read {
    if is_token(text) { Read::Token(text.to_vec(), carrier) } else { Read::Malformed }
}

/// At most one of the sources may present something.
pub fn only_one(all: Vec<Read>) -> Read {
    let mut present: Vec<Read> =
        all.into_iter().filter(|read| !matches!(read, Read::Absent)).collect();
    match present.len() {
        0 => Read::Absent,
        1 => present.remove(0),
        _ => Read::Malformed,
    }
}

pub fn authorization(values: &[&Vec<u8>], accept_basic: bool) -> Read {
    let value = match values {
        [] => return Read::Absent,
        [value] => value.as_slice(),
        _ => return Read::Malformed,
    };
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let end = value.iter().position(|byte| !is_tchar(byte)).unwrap_or(value.len());
    let (scheme, rest) = value.split_at(end);
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    let credentials = &rest[spaces..];
    match &*scheme.to_ascii_lowercase() {
        b"bearer" if spaces > 0 => token_or_malformed(credentials, "bearer"),
        b"basic" if accept_basic && spaces > 0 => user_and_token(credentials, "basic"),
        b"bearer" => Read::Malformed,
        b"basic" if accept_basic => Read::Malformed,
        _ => Read::Absent,
    }
}

pub fn own_header(values: &[&Vec<u8>]) -> Read {
    match values {
        [] => Read::Absent,
        [value] => token_or_malformed(value, "header"),
        _ => Read::Malformed,
    }
}

fn decoded(text: &[u8], plus_is_space: bool) -> Vec<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    let mut decoded = Vec::new();
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'%', [high, low, after @ ..]) if digit(*high).is_some() && digit(*low).is_some() => {
                decoded.push(digit(*high).unwrap() << 4 | digit(*low).unwrap());
                rest = after;
            }
            (b'+', _) if plus_is_space => decoded.push(b' '),
            (byte, _) => decoded.push(*byte),
        }
    }
    decoded
}

/// Whether a part of a query is the parameter with this name.
pub fn is_named(part: &str, name: &str) -> bool {
    decoded(part.split('=').next().unwrap().as_bytes(), true) == name.as_bytes()
}

/// A query without a parameter. `None` if nothing is left of it.
pub fn without(query: Option<String>, name: &str) -> Option<String> {
    let query = query?;
    let kept: Vec<&str> = query.split('&').filter(|part| !is_named(part, name)).collect();
    (!kept.is_empty()).then(|| kept.join("&"))
}

/// Whether the URL's query has the parameter `auth_token`, however its parts are separated.
pub fn names_token_in_url(url: &[u8]) -> bool {
    let url = String::from_utf8_lossy(url);
    let query = url.split_once('?').map_or("", |(_, query)| query);
    query.split(['?', '&', '#']).any(|part| is_named(part, "auth_token"))
}

/// The decoded value of a parameter. Otherwise what the query presents: several are `many`.
fn parameter(query: &str, name: &str, many: Read) -> Result<Vec<u8>, Read> {
    let parts: Vec<&str> = query.split('&').filter(|part| is_named(part, name)).collect();
    match &*parts {
        [] => Err(Read::Absent),
        [part] => match part.split_once('=').map_or("", |(_, value)| value) {
            "" => Err(Read::Absent),
            value => Ok(decoded(value.as_bytes(), false)),
        },
        _ => Err(many),
    }
}

/// What the parameter `ticket` presents, if the two that are good here are an issued and an adopted one.
pub fn ticket(query: &str, issued: &str, adopted: &str) -> Read {
    let value = match parameter(query, "ticket", Read::TicketInvalid) {
        Ok(value) => value,
        Err(read) => return read,
    };
    if value == issued.as_bytes() || value == adopted.as_bytes() {
        return Read::Token(value, "ticket");
    }
    Read::TicketInvalid
}

pub fn query(query: &str) -> Read {
    let value = match parameter(query, "auth_token", Read::Malformed) {
        Ok(value) => value,
        Err(read) => return read,
    };
    if is_token(&value) {
        return Read::Token(value, "query");
    }
    user_and_token(&value, "query")
}

/// The entries that do not carry the token, for lines with exactly one.
pub fn other_protocols(lines: &[&Vec<u8>]) -> String {
    let lines: Vec<&str> = lines.iter().map(|line| std::str::from_utf8(line).unwrap()).collect();
    let offered = lines.join(",");
    let mut others = Vec::new();
    let mut follows_bearer = false;
    for entry in offered.split(',').map(|entry| entry.trim_matches([' ', '\t'])) {
        let is_kept = !follows_bearer
            && !entry.is_empty()
            && entry != "bearer"
            && !entry.starts_with("opencode.bearer.");
        follows_bearer = entry == "bearer";
        if is_kept {
            others.push(entry);
        }
    }
    others.join(", ")
}

pub fn protocols(lines: &[&Vec<u8>]) -> Read {
    if lines.iter().any(|line| line.iter().any(|byte| !matches!(byte, b'\t' | b' '..=b'~'))) {
        return Read::Malformed;
    }
    let offered = lines.iter().map(|line| line.as_slice()).collect::<Vec<_>>().join(&b","[..]);
    let offered = String::from_utf8(offered).unwrap();
    let entries: Vec<&str> = offered.split(',').map(|entry| entry.trim_matches([' ', '\t'])).collect();
    let mut found = Vec::new();
    let mut position = 0;
    while position < entries.len() {
        if entries[position] == "bearer" {
            position += 1;
            let token = entries.get(position).copied().unwrap_or_default();
            found.push(token_or_malformed(token.as_bytes(), "protocol"));
        } else if let Some(token) = entries[position].strip_prefix("opencode.bearer.") {
            found.push(token_or_malformed(token.as_bytes(), "protocol"));
        }
        position += 1;
    }
    only_one(found)
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 with padding.
pub fn base64(bytes: &[u8]) -> Vec<u8> {
    let mut text: Vec<u8> = base64url(bytes)
        .into_iter()
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => other,
        })
        .collect();
    while text.len() % 4 != 0 {
        text.push(b'=');
    }
    text
}

/// The password after the first colon of a base64 text, with all of its padding or none or a part of it.
fn user_and_token(text: &[u8], carrier: &'static str) -> Read {
    let end = text.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    let (digits, padding) = text.split_at(end);
    let full = (4 - digits.len() % 4) % 4;
    if text.len() > 1024 || digits.len() % 4 == 1 || padding.len() > full {
        return Read::Malformed;
    }
    let mut bits = Vec::new();
    for digit in digits {
        let Some(value) = BASE64.iter().position(|known| known == digit) else {
            return Read::Malformed;
        };
        bits.extend((0..6).rev().map(|bit| value >> bit & 1));
    }
    let (whole, rest) = bits.split_at(bits.len() / 8 * 8);
    if rest.contains(&1) {
        return Read::Malformed;
    }
    let bytes: Vec<u8> =
        whole.chunks(8).map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | *bit as u8)).collect();
    match bytes.iter().position(|byte| *byte == b':') {
        Some(colon) => token_or_malformed(&bytes[colon + 1..], carrier),
        None => Read::Malformed,
    }
}
