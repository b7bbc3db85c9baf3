//! Messages of `application/vnd.amazon.eventstream` (Smithy specification, "Amazon Event Stream").
//!
//! A message is its length, the length of its headers, a CRC-32 of these two, the headers, the payload, and a CRC-32 of all that. Numbers
//! are big-endian.

use bytes::{BufMut, Bytes, BytesMut};

/// The media type.
pub const MEDIA_TYPE: &str = "application/vnd.amazon.eventstream";

/// The lengths and their checksum.
const PRELUDE: usize = 12;
const CHECKSUM: usize = 4;
/// A header's value is text of at most 64 KiB.
const TEXT: u8 = 7;

/// One event: its name, the media type of its payload, and the payload.
pub fn event(name: &str, media_type: &str, payload: &[u8]) -> Bytes {
    let headers = [
        (":event-type", name),
        (":content-type", media_type),
        (":message-type", "event"),
    ];
    let headers_length: usize = headers
        .iter()
        .map(|(name, value)| 1 + name.len() + 1 + 2 + value.len())
        .sum();
    let length = PRELUDE + headers_length + payload.len() + CHECKSUM;
    let mut message = BytesMut::with_capacity(length);
    message.put_u32(length as u32);
    message.put_u32(headers_length as u32);
    message.put_u32(crc32fast::hash(&message));
    for (name, value) in headers {
        message.put_u8(name.len() as u8);
        message.put_slice(name.as_bytes());
        message.put_u8(TEXT);
        message.put_u16(value.len() as u16);
        message.put_slice(value.as_bytes());
    }
    message.put_slice(payload);
    message.put_u32(crc32fast::hash(&message));
    message.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_laid_out_as_specified() {
        // By botocore's own reader: tests/streaming.rs. This one says where a byte is wrong.
        let message = event("E", "t/p", b"payload");
        let mut expected = vec![0, 0, 0, 81, 0, 0, 0, 58];
        expected.extend(crc32fast::hash(&expected).to_be_bytes());
        expected.extend(b"\x0b:event-type\x07\0\x01E\x0d:content-type\x07\0\x03t/p\x0d:message-type\x07\0\x05event");
        expected.extend(b"payload");
        expected.extend(crc32fast::hash(&expected).to_be_bytes());
        assert_eq!(message.as_ref(), expected);
        assert_eq!(message.len(), 81);
    }
}
