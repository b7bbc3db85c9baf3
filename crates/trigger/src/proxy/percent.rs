//! Percent-decoding (RFC 3986, section 2.1) of what a client sent.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// A path segment's text. An invalid sequence (`%zz`) stays as it is; text that does not decode to UTF-8 stays as a whole.
pub fn decode(text: &str) -> Cow<'_, str> {
    if text.contains('%') {
        percent_decode_str(text).decode_utf8().unwrap_or(Cow::Borrowed(text))
    } else {
        text.into()
    }
}

/// A path's text; `None` when a `%` begins no sequence. Text that does not decode to UTF-8 stays as it is.
pub fn decode_strictly(text: &str) -> Option<Cow<'_, str>> {
    let is_sequence = |rest: &str| rest.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    text.split('%').skip(1).all(is_sequence).then(|| decode(text))
}

/// A key or value of a query: as [`decode`], and `+` is a space.
pub fn decode_query(text: &str) -> Cow<'_, str> {
    if !text.contains('+') {
        return decode(text);
    }
    Cow::Owned(decode(&text.replace('+', " ")).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_and_keeps_what_is_not_legal() {
        for (text, expected) in [
            ("plain", "plain"),
            ("a%20b", "a b"),
            ("caf%C3%A9", "café"),
            ("%2F", "/"),
            ("100%", "100%"),
            ("%zz%41", "%zzA"),
            ("%ff", "%ff"),
            ("a+b", "a+b"),
        ] {
            assert_eq!(decode(text), expected, "{text}");
        }
        for (text, expected) in [("a+b", "a b"), ("a%2Bb", "a+b"), ("+%ff", " %ff"), ("%20", " ")] {
            assert_eq!(decode_query(text), expected, "{text}");
        }
    }
}
