//! JavaScript strings as bytes. A JavaScript string is any sequence of UTF-16 units, lone surrogates included,
//! so its bytes here are WTF-8: UTF-8 in which a lone surrogate has its three-byte form. Every string has
//! exactly one WTF-8 form, so equal strings are equal bytes.

use crate::error::Result;

/// Appends the WTF-8 form of `units` to `out`.
pub fn push_utf16(out: &mut impl Extend<u8>, units: &[u16]) {
    // Of all units at once, not up to the first that is none: this way the loop is fast.
    if units.iter().fold(0, |all, unit| all | unit) < 0x80 {
        out.extend(units.iter().map(|unit| *unit as u8));
        return;
    }
    for decoded in char::decode_utf16(units.iter().copied()) {
        match decoded {
            Ok(c) => out.extend(c.encode_utf8(&mut [0; 4]).bytes()),
            Err(lone) => {
                let unit = lone.unpaired_surrogate();
                out.extend([
                    0xE0 | (unit >> 12) as u8,
                    0x80 | (unit >> 6 & 0x3F) as u8,
                    0x80 | (unit & 0x3F) as u8,
                ]);
            }
        }
    }
}

/// The WTF-8 form of `units`.
pub fn from_utf16(units: &[u16]) -> Vec<u8> {
    let mut bytes = vec![];
    push_utf16(&mut bytes, units);
    bytes
}

/// The UTF-16 units of WTF-8 `bytes`. Bytes that are not WTF-8 become U+FFFD.
///
/// # Errors
/// There is no memory for them.
pub fn to_utf16(bytes: &[u8]) -> Result<Vec<u16>> {
    let mut units = vec![];
    // Each unit takes one byte at the least.
    units.try_reserve_exact(bytes.len())?;
    for chunk in Chunks(bytes) {
        match chunk {
            Chunk::Utf8(text) => units.extend(text.encode_utf16()),
            Chunk::Surrogate(unit) => units.push(unit),
            Chunk::Damaged => units.push(0xFFFD),
        }
    }
    Ok(units)
}

/// Appends WTF-8 `bytes` to `out` as a JSON string, quotes included; lone surrogates as `\udXXX`, as
/// `JSON.stringify` writes them.
///
/// # Errors
/// There is no memory for it; a part of it may be there.
pub fn push_json_string(out: &mut String, bytes: &[u8]) -> Result<()> {
    out.try_reserve(bytes.len() + 2)?;
    out.push('"');
    for chunk in Chunks(bytes) {
        match chunk {
            Chunk::Utf8(text) => push_escaped(out, text)?,
            Chunk::Surrogate(unit) => push(out, &format!("\\u{unit:04x}"))?,
            Chunk::Damaged => push(out, "\u{FFFD}")?,
        }
    }
    push(out, "\"")
}

fn push(out: &mut String, text: &str) -> Result<()> {
    out.try_reserve(text.len())?;
    out.push_str(text);
    Ok(())
}

fn push_escaped(out: &mut String, text: &str) -> Result<()> {
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..0x20 => "",
            _ => continue,
        };
        push(out, &text[plain..at])?;
        if escape.is_empty() {
            push(out, &format!("\\u{byte:04x}"))?;
        } else {
            push(out, escape)?;
        }
        plain = at + 1;
    }
    push(out, &text[plain..])
}

enum Chunk<'a> {
    Utf8(&'a str),
    Surrogate(u16),
    Damaged,
}

/// Splits WTF-8 into stretches of UTF-8 and the lone surrogates between them.
struct Chunks<'a>(&'a [u8]);

impl<'a> Iterator for Chunks<'a> {
    type Item = Chunk<'a>;

    fn next(&mut self) -> Option<Chunk<'a>> {
        if self.0.is_empty() {
            return None;
        }
        let valid = match std::str::from_utf8(self.0) {
            Ok(text) => {
                self.0 = &[];
                return Some(Chunk::Utf8(text));
            }
            Err(error) => error.valid_up_to(),
        };
        if let (Ok(text), rest) = (std::str::from_utf8(&self.0[..valid]), &self.0[valid..])
            && valid > 0
        {
            self.0 = rest;
            return Some(Chunk::Utf8(text));
        }
        match *self.0 {
            [0xED, second @ 0xA0..=0xBF, third @ 0x80..=0xBF, ref rest @ ..] => {
                self.0 = rest;
                Some(Chunk::Surrogate(
                    0xD000 | u16::from(second & 0x3F) << 6 | u16::from(third & 0x3F),
                ))
            }
            _ => {
                self.0 = &self.0[1..];
                Some(Chunk::Damaged)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wtf8(units: &[u16]) -> Vec<u8> {
        let mut out = vec![];
        push_utf16(&mut out, units);
        out.to_vec()
    }

    proptest! {
        #[test]
        fn any_utf16_comes_back_as_it_went(units in prop::collection::vec(
            prop_oneof![any::<u16>(), 0xD7F0u16..0xE010, 0u16..0x80], 0..40)) {
            prop_assert_eq!(to_utf16(&wtf8(&units)).unwrap(), units);
        }

        #[test]
        fn json_strings_say_what_serde_reads(text in any::<String>()) {
            let mut json = String::new();
            push_json_string(&mut json, text.as_bytes()).unwrap();
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }

        #[test]
        fn damaged_bytes_never_panic(bytes in any::<Vec<u8>>()) {
            let mut json = String::new();
            push_json_string(&mut json, &bytes).unwrap();
            prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok() || json.contains("\\ud"));
            to_utf16(&bytes).unwrap();
        }
    }

    #[test]
    fn a_lone_surrogate_has_its_escape() {
        let mut json = String::new();
        push_json_string(&mut json, &wtf8(&[0x61, 0xD83D, 0x62])).unwrap();
        assert_eq!(json, r#""a\ud83db""#);
    }

    #[test]
    fn a_pair_is_one_character() {
        assert_eq!(wtf8(&[0xD83D, 0xDE00]), "😀".as_bytes());
    }
}
