//! A store's file with many tokens, written at once: `create` would wait for the disk for each of them.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use opencode_auth::{Token, TokenDigest};

/// Replaces the file with a store of this many tokens that expire in the year 9999. Returns one of them.
pub fn write(path: &Path, tokens: usize) -> Token {
    let token = Token::generate().unwrap();
    replace(path, &text(tokens, &token));
    token
}

/// The text of a store with this many tokens: `token`, in the middle, and others that nobody has.
pub fn text(tokens: usize, token: &Token) -> String {
    let mut text = String::from("{\n  \"version\": 1,\n  \"tokens\": [");
    for number in 0..tokens {
        let digest = if number == tokens / 2 { token.digest() } else { scattered(number) };
        let comma = if number == 0 { "" } else { "," };
        write!(
            text,
            "{comma}\n    {{\"id\": \"{number:012x}\", \"name\": \"token {number}\", \"digest\": \"sha256:"
        )
        .unwrap();
        for byte in digest.as_bytes() {
            write!(text, "{byte:02x}").unwrap();
        }
        text.push_str(
            "\", \"permissions\": [\"read\", \"write\", \"execute\"], \
             \"created_at\": \"2026-01-01T00:00:00Z\", \"expires_at\": \"9999-01-01T00:00:00Z\"}",
        );
    }
    text.push_str("\n  ]\n}\n");
    text
}

/// Puts the text in the place of the file, whole.
pub fn replace(path: &Path, text: &str) {
    let temporary = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(&temporary).unwrap().write_all(text.as_bytes()).unwrap();
    fs::rename(&temporary, path).unwrap();
}

/// 32 bytes that are as scattered as a digest, and different for each number (splitmix64).
fn scattered(number: usize) -> TokenDigest {
    let mut bytes = [0; 32];
    for (word, place) in (number as u64 * 4..).zip(bytes.chunks_exact_mut(8)) {
        let mut mixed = word.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        place.copy_from_slice(&(mixed ^ (mixed >> 31)).to_be_bytes());
    }
    TokenDigest::from_bytes(bytes)
}
