use std::net::IpAddr;

/// A block of addresses in [`Allow::net`](crate::Allow::net): `10.0.0.0/8`, `2001:db8::/32` or `[2001:db8::]/32`, each with or without a port
/// behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressBlock {
    /// Its first address.
    pub first: IpAddr,
    /// How many bits its addresses share: at most 32 or 128.
    pub length: u8,
    /// The only port that is meant.
    pub port: Option<u16>,
}

impl AddressBlock {
    /// `None`: the text is no block.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, rest) = text.split_once('/')?;
        let plain = match address.strip_prefix('[') {
            Some(address) => address.strip_suffix(']')?,
            None => address,
        };
        let first: IpAddr = plain.parse().ok()?;
        let (length, port) = match rest.split_once(':') {
            Some((length, port)) => (length, Some(number(port).filter(|&port| port != 0)?)),
            None => (rest, None),
        };
        let length = u8::try_from(number(length)?).ok()?;
        let most = if first.is_ipv4() { 32 } else { 128 };
        (length <= most).then_some(Self { first, length, port })
    }
}

/// A number as people write it: Rust takes a plus sign for a part of it, too.
fn number(text: &str) -> Option<u16> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn blocks() {
        for (text, first, length, port) in [
            ("10.0.0.0/8", "10.0.0.0", 8, None),
            ("0.0.0.0/0", "0.0.0.0", 0, None),
            ("10.0.0.0/8:443", "10.0.0.0", 8, Some(443)),
            ("2001:db8::/32", "2001:db8::", 32, None),
            ("[2001:db8::]/32", "2001:db8::", 32, None),
            ("[::1]/128:80", "::1", 128, Some(80)),
        ] {
            let first = first.parse().unwrap();
            assert_eq!(
                AddressBlock::parse(text),
                Some(AddressBlock { first, length, port }),
                "{text}"
            );
        }
        for text in [
            "",
            "/",
            "10.0.0.0",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0/8",
            "10.0.0.0/+8",
            "10.0.0.0/8:",
            "10.0.0.0/8:0",
            "10.0.0.0/8:x",
            "10.0.0.0/8:70000",
            "::/129",
            "[::/8",
            "::]/8",
            "host/8",
            "[2001:db8::]:80/32",
        ] {
            assert_eq!(AddressBlock::parse(text), None, "{text}");
        }
    }
}
