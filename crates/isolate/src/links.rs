//! Symbolic links that a function makes: in its `/tmp` only.
//!
//! Deno refuses them to programs with a list of paths, since what a link leads to is only known when it is followed. In a cage that is no
//! secret to keep: there is nothing that the function may not see.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::extensions::Links;

/// Makes links within this directory, and in nothing that is mounted in it.
pub fn within(directory: &Path) -> Links {
    let directory = directory.to_owned();
    Links(Rc::new(move |target, link| {
        let (Some(parent), Some(name)) = (link.parent(), link.file_name()) else {
            return Err(outside());
        };
        let parent = place(&directory, &parent.canonicalize()?)?;
        let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL));
        make(&text(target.as_bytes())?, &parent, &text(name.as_bytes())?)
    }))
}

/// A directory below another, neither with links in its path: what has become one meanwhile leads nowhere.
fn place(directory: &Path, parent: &Path) -> io::Result<OwnedFd> {
    let inside = parent.strip_prefix(directory).map_err(|_| outside())?;
    let inside = if inside.as_os_str().is_empty() {
        Path::new(".")
    } else {
        inside
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(directory, flags, Mode::empty())?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    match rustix::fs::openat2(&directory, inside, flags, Mode::empty(), resolve) {
        Err(rustix::io::Errno::XDEV) => Err(outside()),
        opened => Ok(opened?),
    }
}

#[allow(unsafe_code)]
fn make(target: &CString, parent: &OwnedFd, name: &CString) -> io::Result<()> {
    // By way of the C library's name, where `quota` stands.
    //
    // SAFETY: both strings end with a zero, and the descriptor is open.
    match unsafe { libc::symlinkat(target.as_ptr(), parent.as_raw_fd(), name.as_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn outside() -> io::Error {
    io::Error::from_raw_os_error(libc::EACCES)
}
