//! A fast walk over JSON as masters write it: without white space, and with its keys in a fixed order.
//!
//! Logs and metrics come in such numbers that a JSON library, which expects anything anywhere, takes longer than everything else. Where
//! something is written otherwise, the walk does not come to its end. Nothing is lost by that: the JSON library reads it then.

use memchr::{memchr, memchr2};
use serde::de::DeserializeOwned;

/// What is left of an object, or of what surrounds it.
pub(crate) struct Scanner<'a> {
    rest: &'a [u8],
    /// What stands before the next key: the brace that opens an object, or a comma.
    before_key: u8,
}

/// A string as it stands between its quotes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Raw<'a> {
    bytes: &'a [u8],
    /// How many bytes stand before the first escape.
    plain: usize,
}

impl<'a> Scanner<'a> {
    /// Begins with an object.
    pub(crate) fn new(json: &'a [u8]) -> Self {
        Self {
            rest: json,
            before_key: b'{',
        }
    }

    /// What has not been passed over yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// What follows a key, if that is the next one. The key is written as in JSON: in quotes, with its colon and any part of the value.
    #[inline(always)]
    fn after<const N: usize>(&self, key: &[u8; N]) -> Option<&'a [u8]> {
        match self.rest.split_first()? {
            (first, rest) if *first == self.before_key => rest.strip_prefix(key),
            _ => None,
        }
    }

    /// Goes on behind a value.
    fn go_on(&mut self, rest: &'a [u8]) {
        self.rest = rest;
        self.before_key = b',';
    }

    /// Passes over a key with all of its value, if they are next.
    #[inline(always)]
    pub(crate) fn pass<const N: usize>(&mut self, field: &[u8; N]) -> Option<()> {
        self.go_on(self.after(field)?);
        Some(())
    }

    /// Enters the object under a key, if that is the next one.
    #[inline(always)]
    pub(crate) fn enter<const N: usize>(&mut self, key: &[u8; N]) -> Option<()> {
        self.rest = self.after(key)?;
        self.before_key = b'{';
        Some(())
    }

    /// Leaves an object at its end.
    pub(crate) fn leave(&mut self) -> Option<()> {
        self.go_on(self.rest.strip_prefix(b"}")?);
        Some(())
    }

    /// The string under a key, if that is the next one; `key` includes the quote that opens the string.
    #[inline(always)]
    pub(crate) fn string<const N: usize>(&mut self, key: &[u8; N]) -> Option<Raw<'a>> {
        let rest = self.after(key)?;
        let plain = find_mark(rest)?;
        let mut end = plain;
        while rest[end] == b'\\' {
            // Most lines end with an escape, so that the quote comes right behind it.
            end += 2;
            if *rest.get(end)? != b'"' {
                end += memchr2(b'"', b'\\', &rest[end..])?;
            }
        }
        let (bytes, rest) = rest.split_at(end);
        self.go_on(&rest[1..]);
        Some(Raw { bytes, plain })
    }

    /// The whole number under a key, if that is the next one.
    #[inline(always)]
    pub(crate) fn integer<const N: usize>(&mut self, key: &[u8; N]) -> Option<i32> {
        let value = self.after(key)?;
        let digits = value.strip_prefix(b"-").unwrap_or(value);
        let sign = if digits.len() == value.len() { 1 } else { -1 };
        let (mut number, mut rest) = (0_i32, digits);
        while let Some((digit @ b'0'..=b'9', after)) = rest.split_first() {
            let digit = i32::from(digit - b'0');
            number = number.checked_mul(10)?.checked_add(sign * digit)?;
            rest = after;
        }
        if rest.len() == digits.len() {
            return None;
        }
        self.go_on(rest);
        Some(number)
    }

    /// What the JSON library makes of the value under a key, if that is the next one.
    pub(crate) fn value<T: DeserializeOwned, const N: usize>(
        &mut self,
        key: &[u8; N],
    ) -> Option<T> {
        let rest = self.after(key)?;
        let mut values = serde_json::Deserializer::from_slice(rest).into_iter();
        let value = values.next()?.ok()?;
        self.go_on(&rest[values.byte_offset()..]);
        Some(value)
    }
}

impl<'a> Raw<'a> {
    /// How many bytes the text has at most.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The text, if it has no escapes.
    pub(crate) fn plain(&self) -> Option<&'a str> {
        str::from_utf8(self.bytes)
            .ok()
            .filter(|_| self.plain == self.bytes.len())
    }

    /// The text of a value: of a string that between its quotes, of a number its digits.
    pub(crate) fn of(value: &'a str) -> Option<Self> {
        let bytes = value.as_bytes();
        match bytes.first()? {
            b'"' => {
                let bytes = &bytes[1..bytes.len() - 1];
                let plain = memchr(b'\\', bytes).unwrap_or(bytes.len());
                Some(Self { bytes, plain })
            }
            b'-' | b'0'..=b'9' => Some(Self {
                bytes,
                plain: bytes.len(),
            }),
            _ => None,
        }
    }

    /// Adds the text to `out`, with what its escapes stand for.
    #[inline(always)]
    pub(crate) fn write(&self, out: &mut Vec<u8>) -> Option<()> {
        let (plain, mut rest) = self.bytes.split_at(self.plain);
        out.extend_from_slice(plain);
        while let Some((_, escape)) = rest.split_first() {
            rest = unescape(escape, out)?;
            let plain = memchr(b'\\', rest).unwrap_or(rest.len());
            out.extend_from_slice(&rest[..plain]);
            rest = &rest[plain..];
        }
        Some(())
    }
}

/// Where the first quote or backslash is. Most strings of an entry are short, which a search by words finds before a wide one has begun.
#[inline(always)]
fn find_mark(text: &[u8]) -> Option<usize> {
    const WORDS: usize = 5;
    let (words, _) = text.as_chunks::<8>();
    let near = &words[..words.len().min(WORDS)];
    for (n, word) in near.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let found = places_of(b'"', word) | places_of(b'\\', word);
        if found != 0 {
            return Some(n * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let searched = near.len() * 8;
    Some(searched + memchr2(b'"', b'\\', &text[searched..])?)
}

/// The upper bit of each byte in `word` that is `wanted`. Above the first of them, others may be set too.
#[inline(always)]
fn places_of(wanted: u8, word: u64) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let zero_if_wanted = word ^ (ONES * u64::from(wanted));
    zero_if_wanted.wrapping_sub(ONES) & !zero_if_wanted & (ONES << 7)
}

/// Adds the letter for what stands behind a backslash, and gives what follows that.
fn unescape<'a>(text: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (first, rest) = text.split_first()?;
    out.push(match first {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'b' => 8,
        b'f' => 12,
        b'"' | b'\\' | b'/' => *first,
        b'u' => {
            let (letter, rest) = numbered(rest)?;
            out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(rest);
        }
        _ => return None,
    });
    Some(rest)
}

/// A letter by its number, or by two that make a pair. Half a pair is no letter, and is replaced.
fn numbered(text: &[u8]) -> Option<(char, &[u8])> {
    let (first, after) = unit(text)?;
    if let Some(letter) = char::from_u32(u32::from(first)) {
        return Some((letter, after));
    }
    if let Some((second, after)) = after.strip_prefix(b"\\u").and_then(unit)
        && let Some(Ok(letter)) = char::decode_utf16([first, second]).next()
    {
        return Some((letter, after));
    }
    Some((char::REPLACEMENT_CHARACTER, after))
}

/// Four hexadecimal digits.
fn unit(text: &[u8]) -> Option<(u16, &[u8])> {
    let (digits, after) = text.split_at_checked(4)?;
    let unit = digits.iter().try_fold(0, |sum, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(sum << 4 | u16::try_from(digit).ok()?)
    })?;
    Some((unit, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_field_that_is_not_the_next_is_left_where_it_is() {
        let mut object = Scanner::new(br#"{"a":"x","b":{"c":-7},"d":[1,2]}"#);
        assert!(object.string(b"\"z\":\"").is_none());
        assert_eq!(object.string(b"\"a\":\"").unwrap().plain(), Some("x"));
        assert!(object.enter(b"\"a\":").is_none() && object.leave().is_none());
        object.enter(b"\"b\":").unwrap();
        assert!(object.pass(b"\"c\":-8").is_none());
        assert_eq!(object.integer(b"\"c\":"), Some(-7));
        object.leave().unwrap();
        assert!(object.value::<String, _>(b"\"d\":").is_none());
        assert_eq!(object.value(b"\"d\":"), Some(vec![1, 2]));
        assert_eq!(object.rest(), b"}");
    }

    #[test]
    fn an_integer_is_read_to_its_limits() {
        for number in [0, 7, -1, i32::MAX, i32::MIN] {
            let json = format!("{{\"n\":{number}}}");
            assert_eq!(
                Scanner::new(json.as_bytes()).integer(b"\"n\":"),
                Some(number)
            );
        }
        for other in ["", "-", "2147483648", "-2147483649", "null", "\"1\""] {
            let json = format!("{{\"n\":{other}}}");
            assert_eq!(
                Scanner::new(json.as_bytes()).integer(b"\"n\":"),
                None,
                "{other}"
            );
        }
    }

    proptest! {
        #[test]
        fn the_first_mark_is_found_wherever_it_is(text in "[a-zäß!#\\[\\]]{0,60}", mark in "[\"\\\\]", rest in "[a\"\\\\]{0,20}") {
            let all = format!("{text}{mark}{rest}");
            prop_assert_eq!(find_mark(all.as_bytes()), Some(text.len()));
            prop_assert_eq!(find_mark(text.as_bytes()), None);
        }

        #[test]
        fn any_bytes_are_walked_over_without_harm(bytes in prop::collection::vec(prop::sample::select(b"{}\"\\:,-1nu8dab".to_vec()), 0..40)) {
            let mut line = b"{\"a\":\"".to_vec();
            line.extend(&bytes);
            let mut scanner = Scanner::new(&line);
            if let Some(raw) = scanner.string(b"\"a\":\"") {
                let mut text = Vec::new();
                let is_text = raw.write(&mut text).is_some();
                let mut json = b"\"".to_vec();
                json.extend(&bytes[..raw.len()]);
                json.push(b'"');
                let library = serde_json::from_slice::<String>(&json);
                // The library refuses half letters, which are replaced here.
                prop_assert!(library.is_err() || is_text);
                if let Ok(library) = library {
                    prop_assert_eq!(text, library.into_bytes());
                }
            }
        }
    }
}
