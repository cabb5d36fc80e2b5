//! Reads and writes bodies in the wrong character encoding.

/// Characters of Windows-1252 that differ from Latin-1, for the bytes from 0x80 on. U+FFFD where it has none.
const WINDOWS_1252: [char; 32] = [
    '€', '\u{fffd}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{fffd}', 'Ž', '\u{fffd}', '\u{fffd}',
    '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{fffd}', 'ž', 'Ÿ',
];

/// Returns the text with every character as one byte, in Latin-1 and in Windows-1252.
fn single_bytes(body: &[u8]) -> Vec<Vec<u8>> {
    let Ok(text) = str::from_utf8(body) else { return Vec::new() };
    if body.is_ascii() {
        return Vec::new();
    }
    let latin = text.chars().map(|c| u8::try_from(c).ok()).collect();
    let windows = text.chars().map(|c| match WINDOWS_1252.iter().position(|known| *known == c && c != '\u{fffd}') {
        Some(index) => u8::try_from(index).ok().map(|index| index | 0x80),
        None => u8::try_from(c).ok(),
    });
    let written: [Option<Vec<u8>>; 2] = [latin, windows.collect()];
    written.into_iter().flatten().collect()
}

/// Undoes that UTF-8 was read as Latin-1 or Windows-1252.
pub(super) fn was_read_as_latin(body: &[u8]) -> Vec<Vec<u8>> {
    single_bytes(body).into_iter().filter(|bytes| str::from_utf8(bytes).is_ok()).collect()
}

/// Undoes that a body in Latin-1 or Windows-1252 was rewritten in UTF-8.
pub(super) fn was_in_latin(body: &[u8]) -> Vec<Vec<u8>> {
    single_bytes(body).into_iter().filter(|bytes| str::from_utf8(bytes).is_err()).collect()
}

/// Reads every byte as one character, of Latin-1 and of Windows-1252.
pub(super) fn read_as_latin(body: &[u8]) -> Vec<Vec<u8>> {
    if body.is_ascii() {
        return Vec::new();
    }
    let latin = body.iter().copied().map(char::from).collect::<String>();
    let windows = body.iter().copied().map(|byte| {
        let index = usize::from(byte).checked_sub(0x80);
        let special = index.and_then(|index| WINDOWS_1252.get(index)).filter(|c| **c != '\u{fffd}');
        special.copied().unwrap_or(char::from(byte))
    });
    vec![latin.into_bytes(), windows.collect::<String>().into_bytes()]
}

/// Reads UTF-16, with or without a byte order mark.
pub(super) fn from_utf_16(body: &[u8]) -> Vec<Vec<u8>> {
    let decoded = |unit: fn([u8; 2]) -> u16, bytes: &[u8]| {
        let (pairs, rest) = bytes.as_chunks();
        let text = char::decode_utf16(pairs.iter().copied().map(unit)).collect::<Result<String, _>>();
        text.ok().filter(|text| rest.is_empty() && !text.is_empty()).map(String::into_bytes)
    };
    let found = match body {
        [0xff, 0xfe, rest @ ..] => [decoded(u16::from_le_bytes, rest), None],
        [0xfe, 0xff, rest @ ..] => [decoded(u16::from_be_bytes, rest), None],
        _ if body.contains(&0) => [decoded(u16::from_le_bytes, body), decoded(u16::from_be_bytes, body)],
        _ => [None, None],
    };
    found.into_iter().flatten().collect()
}

/// Reads UTF-32 with a byte order mark.
pub(super) fn from_utf_32(body: &[u8]) -> Option<Vec<u8>> {
    let (units, rest) = body.as_chunks();
    let read: fn([u8; 4]) -> u32 = match units.first()? {
        [0xff, 0xfe, 0, 0] => u32::from_le_bytes,
        [0, 0, 0xfe, 0xff] => u32::from_be_bytes,
        _ => return None,
    };
    let text = units.iter().skip(1).map(|unit| char::from_u32(read(*unit))).collect::<Option<String>>();
    text.filter(|text| rest.is_empty() && !text.is_empty()).map(String::into_bytes)
}

/// Writes UTF-16 in both byte orders.
pub(super) fn to_utf_16(body: &[u8]) -> Vec<Vec<u8>> {
    let Ok(text) = str::from_utf8(body) else { return Vec::new() };
    let written = |bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect();
    vec![written(u16::to_le_bytes), written(u16::to_be_bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_by_a_single_byte_encoding_is_undone() {
        let text = "Zoë’s café €";
        for damaged in read_as_latin(text.as_bytes()) {
            assert!(was_read_as_latin(&damaged).contains(&text.as_bytes().to_vec()));
        }
        assert!(was_in_latin("é €".as_bytes()).contains(&b"\xe9 \x80".to_vec()));
        assert!(read_as_latin(b"\xe9 \x80").contains(&"é €".as_bytes().to_vec()));
        assert!(read_as_latin(b"ascii").is_empty() && was_in_latin(b"ascii").is_empty());
    }

    #[test]
    fn utf_32_is_read() {
        assert_eq!(from_utf_32(b"\xff\xfe\0\0a\0\0\0"), Some(b"a".to_vec()));
        assert_eq!(from_utf_32(b"\0\0\xfe\xff\0\x01\xf6\0"), Some("😀".into()));
        for odd in [&b""[..], b"\xff\xfe\0\0", b"\xff\xfe\0\0a", b"\xff\xfe\0\0\0\xd8\0\0"] {
            assert_eq!(from_utf_32(odd), None);
        }
    }

    #[test]
    fn utf_16_is_read_and_written() {
        let text = "{\"a\":\"ñ😀\"}";
        for written in to_utf_16(text.as_bytes()) {
            assert!(from_utf_16(&written).contains(&text.as_bytes().to_vec()));
        }
        assert_eq!(from_utf_16(b"\xff\xfea\0"), [b"a".to_vec()]);
        for odd in [&b""[..], b"\xff\xfe", b"\xff\xfea", b"\0", b"\0\xd8", b"\xd8\0\0a"] {
            drop(from_utf_16(odd));
        }
    }
}
