//! Where a worker's sockets may lead: decided here, on the address itself, when the connection is made.
//!
//! Deno's permissions look at the host as the program wrote it, and so decide which *names* are listed. A listed name says nothing about where
//! it points: at a name server of somebody else's, it may point at this machine, at its network or at a cloud's metadata service. So every
//! connection, and every datagram with an address, is looked at once more, at the last place before the kernel: this module defines the
//! functions `connect`, `sendto`, `sendmsg` and `sendmmsg` of the C library for the program, and all of Rust's network code calls
//! them (fetch, WebSocket, `node:net`, `node:tls`, `node:dgram`, DNS over sockets; through whatever redirect or proxy). There is no time
//! between check and use: the address that is looked at is the one that the kernel gets.
//!
//! In the server, which never calls [`confine`], they do what the C library's do. The C library's own name resolution does not pass here.

#![allow(unsafe_code)]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::OnceLock;

use hikigane_model::{AddressBlock, FUNCTIONS_LOOPBACK};

/// What this process may connect to; unset in a process that is no worker with a function.
static POLICY: OnceLock<Policy> = OnceLock::new();

/// Lets this process's sockets lead where `listed` says, from now on and for good. `endpoint` is the server's own.
pub fn confine(listed: &[String], endpoint: Option<SocketAddr>) {
    // One worker has one function: a second call can only repeat the first.
    let _ = POLICY.set(Policy::new(listed, endpoint));
}

/// What `allow.net` says about addresses.
struct Policy {
    rules: Vec<Rule>,
    endpoint: Option<SocketAddr>,
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
enum Decision {
    Refused,
    Open,
    /// It goes to the server's endpoint, which must be able to tell that it comes from a function.
    Marked,
}

impl Policy {
    fn new(listed: &[String], endpoint: Option<SocketAddr>) -> Self {
        Self {
            rules: listed.iter().map(|item| Rule::read(item)).collect(),
            endpoint,
        }
    }

    fn decide(&self, to: SocketAddr) -> Decision {
        let (address, port) = (plain(to.ip()), to.port());
        if is_metadata(address) || !self.rules.iter().any(|rule| rule.opens(address, port)) {
            return Decision::Refused;
        }
        match self.endpoint {
            Some(endpoint) if endpoint.port() == port && is_loopback(address) => match address {
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

// --- The C library's functions ---------------------------------------------------------------------------------------------

/// `connect(2)`, where the policy lets it lead.
///
/// # Safety
///
/// As the C library's: `address` points at `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn connect(socket: i32, address: *const libc::sockaddr, length: libc::socklen_t) -> i32 {
    // SAFETY: the caller's promise is passed on.
    unsafe {
        match decide(socket, address, length) {
            Decision::Refused => refuse() as i32,
            Decision::Marked if mark(socket).is_err() => refuse() as i32,
            _ => libc::syscall(libc::SYS_connect, socket, address, length) as i32,
        }
    }
}

/// `sendto(2)`, where the policy lets it lead.
///
/// # Safety
///
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sendto(
    socket: i32,
    data: *const libc::c_void,
    size: libc::size_t,
    flags: i32,
    address: *const libc::sockaddr,
    length: libc::socklen_t,
) -> libc::ssize_t {
    // SAFETY: the caller's promise is passed on.
    unsafe {
        match decide(socket, address, length) {
            Decision::Open => {
                libc::syscall(libc::SYS_sendto, socket, data, size, flags, address, length) as libc::ssize_t
            }
            Decision::Refused | Decision::Marked => refuse(),
        }
    }
}

/// `sendmsg(2)`, where the policy lets it lead.
///
/// # Safety
///
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sendmsg(socket: i32, message: *const libc::msghdr, flags: i32) -> libc::ssize_t {
    // SAFETY: the caller's promise is passed on; the kernel answers for a null pointer.
    unsafe {
        match of_message(socket, message) {
            Decision::Open => libc::syscall(libc::SYS_sendmsg, socket, message, flags) as libc::ssize_t,
            Decision::Refused | Decision::Marked => refuse(),
        }
    }
}

/// `sendmmsg(2)`, where the policy lets it lead: all messages or none.
///
/// # Safety
///
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sendmmsg(socket: i32, messages: *mut libc::mmsghdr, count: u32, flags: i32) -> i32 {
    // SAFETY: the caller's promise is passed on: `messages` points at `count` of them.
    unsafe {
        let all_open = (0..count as usize)
            .all(|index| of_message(socket, &raw const (*messages.add(index)).msg_hdr) == Decision::Open);
        if all_open {
            libc::syscall(libc::SYS_sendmmsg, socket, messages, count, flags) as i32
        } else {
            refuse() as i32
        }
    }
}

/// # Safety
///
/// `message` is null or points at a whole header.
unsafe fn of_message(socket: i32, message: *const libc::msghdr) -> Decision {
    if message.is_null() {
        return Decision::Open;
    }
    // SAFETY: see above; its name is null or as long as it says.
    unsafe { decide(socket, (*message).msg_name.cast(), (*message).msg_namelen) }
}

/// # Safety
///
/// `address` is null or points at `length` bytes.
unsafe fn decide(socket: i32, address: *const libc::sockaddr, length: libc::socklen_t) -> Decision {
    let Some(policy) = POLICY.get() else {
        return Decision::Open;
    };
    if address.is_null() || (length as usize) < size_of::<libc::sa_family_t>() {
        return Decision::Open;
    }
    // SAFETY: each struct is read only when the bytes are long enough for it, without assuming that they are aligned.
    unsafe {
        let family = i32::from(address.cast::<libc::sa_family_t>().read_unaligned());
        let to = match family {
            libc::AF_INET if length as usize >= size_of::<libc::sockaddr_in>() => {
                let address = address.cast::<libc::sockaddr_in>().read_unaligned();
                let ip = Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
                SocketAddr::new(ip.into(), u16::from_be(address.sin_port))
            }
            libc::AF_INET6 if length as usize >= size_of::<libc::sockaddr_in6>() => {
                let address = address.cast::<libc::sockaddr_in6>().read_unaligned();
                let ip = Ipv6Addr::from(address.sin6_addr.s6_addr);
                SocketAddr::new(ip.into(), u16::from_be(address.sin6_port))
            }
            // The end of a datagram socket's connection, and the kernel's own answers about interfaces.
            libc::AF_UNSPEC | libc::AF_NETLINK => return Decision::Open,
            _ => return Decision::Refused,
        };
        match policy.decide(to) {
            Decision::Marked if !is_stream(socket) => Decision::Refused,
            decision => decision,
        }
    }
}

/// # Safety
///
/// None: a bad descriptor is an error of the kernel's.
unsafe fn is_stream(socket: i32) -> bool {
    let mut kind = 0_i32;
    let mut size = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `size` bytes to `kind`.
    let result = unsafe {
        libc::getsockopt(
            socket,
            libc::SOL_SOCKET,
            libc::SO_TYPE,
            (&raw mut kind).cast(),
            &raw mut size,
        )
    };
    result == 0 && kind == libc::SOCK_STREAM
}

/// Gives the connection the source address that functions have at the endpoint. A socket that has another already is refused.
///
/// # Safety
///
/// None: a bad descriptor is an error of the kernel's.
unsafe fn mark(socket: i32) -> io::Result<()> {
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: 0,
        sin_addr: libc::in_addr {
            s_addr: u32::from(FUNCTIONS_LOOPBACK).to_be(),
        },
        sin_zero: [0; 8],
    };
    let on = 1_i32;
    // SAFETY: both structs are whole and live through the calls, and their true sizes are given.
    unsafe {
        // The port is chosen by connect(2): one for each destination, not one for each socket.
        libc::setsockopt(
            socket,
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            size_of::<i32>() as libc::socklen_t,
        );
        let size = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        if libc::bind(socket, (&raw const address).cast(), size) == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

/// "Permission denied", as the C library says it.
fn refuse() -> libc::ssize_t {
    // SAFETY: the C library's errno of this thread.
    unsafe { *libc::__errno_location() = libc::EACCES };
    -1
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn decision(listed: &[&str], to: &str) -> Decision {
        let listed: Vec<String> = listed.iter().map(|&item| item.to_owned()).collect();
        Policy::new(&listed, Some("127.0.0.1:9000".parse().unwrap())).decide(to.parse().unwrap())
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
