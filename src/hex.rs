//! Lower-case hexadecimal: the only form that is written and read here.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The digit of the four low bits.
pub(crate) fn digit(bits: u8) -> u8 {
    DIGITS[usize::from(bits & 0xf)]
}

/// Two digits for each byte.
pub(crate) fn encode(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, *byte].map(digit)).map(char::from).collect()
}

/// The bytes of a text of exactly `2 * N` digits.
pub(crate) fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = value(*high)? << 4 | value(*low)?;
    }
    Some(bytes)
}

/// Whether every character is a digit.
pub(crate) fn is_hex(text: &[u8]) -> bool {
    text.iter().all(|byte| value(*byte).is_some())
}

const fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_survive_a_round_trip() {
        let bytes: [u8; 256] = std::array::from_fn(|byte| byte.to_le_bytes()[0]);
        assert_eq!(encode(&bytes[..3]), "000102");
        assert_eq!(encode(&bytes[253..]), "fdfeff");
        assert_eq!(decode(&encode(&bytes)), Some(bytes));
    }

    #[test]
    fn only_lower_case_digits_of_the_right_number_are_decoded() {
        for text in ["", "0", "000", "0000", "0G", "0A", "+1", " 1", "é"] {
            assert_eq!(decode::<1>(text), None, "{text}");
        }
    }
}
