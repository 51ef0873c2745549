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
