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

mod policy;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::OnceLock;

use hikigane_executor::WorkerInit;
use hikigane_model::FUNCTIONS_LOOPBACK;

use policy::{Decision, Policy};

/// What this process may connect to; unset in a process that is no worker with a function.
static POLICY: OnceLock<Policy> = OnceLock::new();

/// Lets this process's sockets lead where the function's `allow.net` says, from now on and for good.
pub fn confine(init: &WorkerInit) {
    let inspector = init.inspection.map(|inspection| inspection.address);
    // One worker has one function: a second call can only repeat the first.
    let _ = POLICY.set(Policy::new(&init.net, init.endpoint, inspector));
}

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
