//! A text is a token if and only if it is the one text of its 128 bits; no text makes anything panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use opencode_auth::{Expiry, NewToken, Permission, Permissions, Token, TokenId, TokenRecord};
use time::UtcDateTime;

mod reference;

fuzz_target!(|data: &[u8]| {
    if let Some(random) = data.first_chunk() {
        let text = String::from_utf8(reference::token(*random)).expect("ASCII");
        let token: Token = text.parse().expect("it was made so");
        assert_eq!(token.expose_secret(), text);
    }
    // A checksum that is right is nothing that fuzzing finds.
    if let Some(random_part) = data.first_chunk::<22>() {
        let text = reference::with_checksum([b"oct_", &random_part[..]].concat());
        let is_token = str::from_utf8(&text).is_ok_and(|text| text.parse::<Token>().is_ok());
        assert_eq!(is_token, reference::is_token(&text), "{}", text.escape_ascii());
    }
    let Ok(text) = str::from_utf8(data) else { return };
    match text.parse::<Token>() {
        Ok(token) => assert!(reference::is_token(data) && token.expose_secret() == text),
        Err(_) => assert!(!reference::is_token(data)),
    }
    if let Ok(id) = text.parse::<TokenId>() {
        assert_eq!(id.as_str(), text);
    }
    if let Ok(permission) = text.parse::<Permission>() {
        assert_eq!(permission.as_str(), text);
    }
    if let Ok(permissions) = text.parse::<Permissions>() {
        assert!(!permissions.is_empty() && permissions.to_string().parse() == Ok(permissions));
    }
    for now in [UtcDateTime::MIN, UtcDateTime::UNIX_EPOCH, UtcDateTime::MAX] {
        if let Ok(expiry) = text.parse::<Expiry>()
            && let Ok((_, record)) = NewToken::new().expires(expiry).issue(now)
        {
            assert!(!record.is_expired(now));
        }
    }
    if let Ok((token, record)) = NewToken::new().name(text).issue(UtcDateTime::UNIX_EPOCH) {
        assert_eq!(record.name(), Some(text));
        assert!((1..=64).contains(&text.chars().count()) && !text.contains(char::is_control));
        let (id, now) = (record.id(), record.created_at());
        let again = TokenRecord::new(
            id,
            Some(text),
            token.digest(),
            record.permissions(),
            now,
            record.expires_at(),
        );
        assert_eq!(again.ok(), Some(record));
    }
});
