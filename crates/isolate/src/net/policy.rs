//! What `allow.net` says about addresses. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hikigane_model::AddressBlock;

/// What `allow.net` says about addresses.
pub struct Policy {
    rules: Vec<Rule>,
    /// The server's own endpoint.
    endpoint: Option<SocketAddr>,
    /// Where the server listens for debuggers: whoever gets there is in every function.
    inspector: Option<SocketAddr>,
}

/// One item of `allow.net`.
struct Rule {
    what: What,
    port: Option<u16>,
}

enum What {
    /// `*`
    Everything,
    /// `localhost`
    Loopback,
    /// A name: Deno's permissions compare it.
    Name,
    /// An address, or a block of them by its first address and the length of its prefix.
    Block(IpAddr, u8),
}

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Refused,
    Open,
    /// It goes to the server's endpoint, which must be able to tell that it comes from a function.
    Marked,
}

impl Policy {
    pub fn new(listed: &[String], endpoint: Option<SocketAddr>, inspector: Option<SocketAddr>) -> Self {
        Self {
            rules: listed.iter().map(|item| Rule::read(item)).collect(),
            endpoint,
            inspector,
        }
    }

    /// What becomes of a connection to this address.
    pub fn decide(&self, to: SocketAddr) -> Decision {
        let (address, port) = (plain(to.ip()), to.port());
        if is_metadata(address) || !self.rules.iter().any(|rule| rule.opens(address, port)) {
            return Decision::Refused;
        }
        let is = |own: Option<SocketAddr>| is_loopback(address) && own.is_some_and(|own| own.port() == port);
        if is(self.inspector) {
            return Decision::Refused;
        }
        match self.endpoint {
            Some(_) if is(self.endpoint) => match address {
                IpAddr::V4(_) => Decision::Marked,
                // There is one loopback address only: nothing to tell a function by.
                IpAddr::V6(_) => Decision::Refused,
            },
            _ => Decision::Open,
        }
    }
}

impl Rule {
    /// `*`, `host`, `host:port`, `[v6]:port` or a block (checked when the manifest was read).
    fn read(item: &str) -> Self {
        if let Some(AddressBlock { first, length, port }) = AddressBlock::parse(item) {
            let what = What::Block(first, length);
            return Self { what, port };
        }
        let (host, port) = match item.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse().ok()),
            _ => (item, None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let what = match (host, host.parse::<IpAddr>()) {
            ("*", _) => What::Everything,
            (_, Ok(address)) => {
                let address = plain(address);
                What::Block(address, if address.is_ipv4() { 32 } else { 128 })
            }
            (name, Err(_)) if name.trim_end_matches('.').eq_ignore_ascii_case("localhost") => What::Loopback,
            _ => What::Name,
        };
        Self { what, port }
    }

    fn opens(&self, address: IpAddr, port: u16) -> bool {
        self.port.is_none_or(|listed| listed == port)
            && match self.what {
                What::Everything => true,
                What::Loopback => is_loopback(address),
                What::Name => !is_special(address),
                What::Block(first, length) => is_in(address, first, length),
            }
    }
}

/// The address that the kernel takes it for: an IPv4 address in an IPv6 one is that IPv4 address; none at all is this machine.
fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        IpAddr::V6(v6) => match embedded(v6) {
            Some(v4) => plain(IpAddr::V4(v4)),
            None => address,
        },
        IpAddr::V4(_) => address,
    }
}

/// The IPv4 address that a gateway, or the kernel, makes of an IPv6 one: mapped and compatible (RFC 4291), NAT64 (RFC 6052), 6to4 (RFC 3056).
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let at = |high: u16, low: u16| Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match v6.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            at(high, low)
        }
        _ => None,
    }
}

/// Where clouds keep a machine's credentials: never open, whatever is listed.
fn is_metadata(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254],
    }
}

fn is_loopback(address: IpAddr) -> bool {
    address.is_loopback()
}

/// Addresses that are not on the public Internet (IANA's registries of special-purpose addresses): a listed name does not open them.
fn is_special(address: IpAddr) -> bool {
    const V4: &[([u8; 4], u8)] = &[
        ([0, 0, 0, 0], 8),
        ([10, 0, 0, 0], 8),
        ([100, 64, 0, 0], 10),
        ([127, 0, 0, 0], 8),
        ([169, 254, 0, 0], 16),
        ([172, 16, 0, 0], 12),
        ([192, 0, 0, 0], 24),
        ([192, 0, 2, 0], 24),
        ([192, 88, 99, 0], 24),
        ([192, 168, 0, 0], 16),
        ([198, 18, 0, 0], 15),
        ([198, 51, 100, 0], 24),
        ([203, 0, 113, 0], 24),
        ([224, 0, 0, 0], 3),
    ];
    match address {
        IpAddr::V4(_) => V4
            .iter()
            .any(|&(first, length)| is_in(address, IpAddr::from(first), length)),
        // All public ones begin with 001; of those, 2001::/23 and 2001:db8::/32 are special again.
        IpAddr::V6(v6) => {
            let parts = v6.segments();
            parts[0] >> 13 != 1 || (parts[0] == 0x2001 && (parts[1] < 0x200 || parts[1] == 0xdb8))
        }
    }
}

fn is_in(address: IpAddr, first: IpAddr, length: u8) -> bool {
    let (bits, all) = match (address, first) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits() ^ b.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits(), 128),
        _ => return false,
    };
    length <= all && bits.checked_shr(u32::from(all - length)).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn decision(listed: &[&str], to: &str) -> Decision {
        let listed: Vec<String> = listed.iter().map(|&item| item.to_owned()).collect();
        let own = |text: &str| Some(text.parse().unwrap());
        Policy::new(&listed, own("127.0.0.1:9000"), own("127.0.0.1:9229")).decide(to.parse().unwrap())
    }

    #[test]
    fn the_door_of_debuggers_is_never_open() {
        for to in [
            "127.0.0.1:9229",
            "127.0.0.2:9229",
            "0.0.0.0:9229",
            "[::1]:9229",
            "[::ffff:127.0.0.1]:9229",
        ] {
            let listed = ["*", "localhost", "127.0.0.0/8", "127.0.0.1:9229", "::1"];
            assert_eq!(decision(&listed, to), Decision::Refused, "{to}");
        }
        assert_eq!(decision(&["93.184.216.34"], "93.184.216.34:9229"), Decision::Open);
    }

    #[test]
    fn a_listed_name_opens_the_public_internet_and_nothing_else() {
        for to in [
            "93.184.216.34:443",
            "1.1.1.1:80",
            "[2606:4700::1111]:443",
            "[64:ff9b::101:101]:443",
        ] {
            assert_eq!(decision(&["api.example.com"], to), Decision::Open, "{to}");
            assert_eq!(decision(&["api.example.com:1"], to), Decision::Refused, "{to}");
            assert_eq!(decision(&[], to), Decision::Refused, "{to}");
        }
        for to in [
            "127.0.0.1:80",
            "127.9.9.9:80",
            "0.0.0.0:80",
            "0.1.2.3:80",
            "10.1.2.3:80",
            "172.16.0.1:80",
            "172.31.255.255:80",
            "192.168.1.1:80",
            "100.64.0.1:80",
            "169.254.169.254:80",
            "169.254.1.1:80",
            "192.0.0.8:80",
            "198.18.0.1:80",
            "224.0.0.1:80",
            "240.0.0.1:80",
            "255.255.255.255:80",
            "[::]:80",
            "[::1]:80",
            "[::ffff:127.0.0.1]:80",
            "[::ffff:10.0.0.1]:80",
            "[::ffff:169.254.169.254]:80",
            "[::127.0.0.1]:80",
            "[fc00::1]:80",
            "[fd00:ec2::254]:80",
            "[fd12::1]:80",
            "[fe80::1]:80",
            "[fec0::1]:80",
            "[ff02::1]:80",
            "[64:ff9b::7f00:1]:80",
            "[64:ff9b::a9fe:a9fe]:80",
            "[2002:7f00:1::]:80",
            "[2002:a00:1::1]:80",
            "[2001:db8::1]:80",
            "[2001::1]:80",
            "[100::1]:80",
        ] {
            assert_eq!(
                decision(&["api.example.com", "other.example"], to),
                Decision::Refused,
                "{to}"
            );
        }
    }

    #[test]
    fn addresses_are_open_when_they_are_listed_themselves() {
        for (listed, to, expected) in [
            ("127.0.0.1", "127.0.0.1:80", Decision::Open),
            ("127.0.0.1", "[::ffff:127.0.0.1]:80", Decision::Open),
            ("127.0.0.1", "127.0.0.2:80", Decision::Refused),
            ("127.0.0.1:80", "127.0.0.1:81", Decision::Refused),
            ("127.0.0.1:80", "0.0.0.0:80", Decision::Open),
            ("localhost", "127.0.0.1:80", Decision::Open),
            ("localhost:80", "[::1]:80", Decision::Open),
            ("LOCALHOST.:80", "[::1]:80", Decision::Open),
            ("localhost:80", "127.0.0.1:81", Decision::Refused),
            ("localhost", "10.0.0.1:80", Decision::Refused),
            ("localhost", "1.1.1.1:80", Decision::Refused),
            ("10.0.0.0/8", "10.9.8.7:5432", Decision::Open),
            ("10.0.0.0/8:5432", "10.9.8.7:5432", Decision::Open),
            ("10.0.0.0/8:5432", "10.9.8.7:80", Decision::Refused),
            ("10.0.0.0/8", "11.0.0.1:80", Decision::Refused),
            ("0.0.0.0/0", "8.8.8.8:80", Decision::Open),
            ("0.0.0.0/0", "169.254.169.254:80", Decision::Refused),
            ("0.0.0.0/0", "[::1]:80", Decision::Refused),
            ("[::1]:80", "[::1]:80", Decision::Open),
            ("fd00::/8", "[fd12::1]:80", Decision::Open),
            ("[fd00::]/8:5432", "[fd12::1]:5432", Decision::Open),
            ("[fd00::]/8:5432", "[fd12::1]:80", Decision::Refused),
            ("fd00::/8", "[fe80::1]:80", Decision::Refused),
            ("fd00::/8", "[fd00:ec2::254]:80", Decision::Refused),
            ("::/0", "[2606:4700::1111]:80", Decision::Open),
            ("::/0", "127.0.0.1:80", Decision::Refused),
            ("::/0", "[::ffff:10.0.0.1]:80", Decision::Refused),
            ("[::1]", "127.0.0.1:80", Decision::Refused),
            ("[fd00:ec2::254]", "[fd00:ec2::254]:80", Decision::Refused),
            ("169.254.169.254", "169.254.169.254:80", Decision::Refused),
            ("*", "169.254.169.254:80", Decision::Refused),
            ("*", "[::ffff:a9fe:a9fe]:80", Decision::Refused),
            ("*", "[fd00:ec2::254]:80", Decision::Refused),
            ("*", "10.0.0.1:80", Decision::Open),
            ("*", "127.0.0.1:80", Decision::Open),
        ] {
            assert_eq!(decision(&[listed], to), expected, "{listed} {to}");
        }
    }

    #[test]
    fn a_connection_to_the_endpoint_is_marked() {
        for (listed, to, expected) in [
            ("*", "127.0.0.1:9000", Decision::Marked),
            ("*", "127.5.5.5:9000", Decision::Marked),
            ("*", "0.0.0.0:9000", Decision::Marked),
            ("*", "[::ffff:127.0.0.1]:9000", Decision::Marked),
            ("*", "[::1]:9000", Decision::Refused),
            ("*", "[::]:9000", Decision::Refused),
            ("*", "10.0.0.1:9000", Decision::Open),
            ("127.0.0.1:9000", "127.0.0.1:9000", Decision::Marked),
            ("localhost", "127.0.0.1:9000", Decision::Marked),
            ("api.example.com", "127.0.0.1:9000", Decision::Refused),
        ] {
            assert_eq!(decision(&[listed], to), expected, "{listed} {to}");
        }
    }
}
