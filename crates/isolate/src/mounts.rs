//! The kernel's calls for mounts that nobody wraps in a crate we have anyway. Each does one call and nothing else.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What a mount does not allow, on top of what it did not allow before.
#[derive(Debug, Clone, Copy)]
pub enum Rights {
    /// Reading; no device, no set-user-id program.
    Read,
    /// Reading of device files: those that are there were chosen one by one.
    ReadDevices,
    /// Reading and writing; no device, no set-user-id program.
    Write,
}

impl Rights {
    fn bits(self) -> u64 {
        let quiet = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC;
        match self {
            Self::Read => quiet | libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NODEV,
            Self::ReadDevices => quiet | libc::MOUNT_ATTR_RDONLY,
            Self::Write => quiet | libc::MOUNT_ATTR_NODEV,
        }
    }
}

/// Makes every mount private: what is mounted from now on stays in this namespace, and nothing comes in.
pub fn make_private() -> io::Result<()> {
    // SAFETY: the strings are static and end with a zero; the other pointers may be null for a change of propagation.
    check(unsafe {
        libc::mount(
            std::ptr::null(),
            c"/".as_ptr(),
            std::ptr::null(),
            libc::MS_REC | libc::MS_PRIVATE,
            std::ptr::null(),
        )
    })
}

/// Mounts an empty file system in memory at `target`, of one megabyte.
pub fn mount_empty(target: &Path) -> io::Result<()> {
    let target = text(target)?;
    // SAFETY: all strings end with a zero and live through the call.
    check(unsafe {
        libc::mount(
            c"hikigane".as_ptr(),
            target.as_ptr(),
            c"tmpfs".as_ptr(),
            libc::MS_NOSUID | libc::MS_NODEV,
            c"mode=0755,size=1m".as_ptr().cast(),
        )
    })
}

/// Takes the mount at `target`, and those below it, out of the namespace.
pub fn detach(target: &Path) -> io::Result<()> {
    let target = text(target)?;
    // SAFETY: the string ends with a zero and lives through the call.
    check(unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) })
}

/// A copy of what is mounted at the open file or directory, and below it: a mount that is nowhere yet.
pub fn copy_of(file: impl AsFd) -> io::Result<OwnedFd> {
    let flags = libc::OPEN_TREE_CLONE as i64
        | libc::O_CLOEXEC as i64
        | i64::from(libc::AT_RECURSIVE)
        | i64::from(libc::AT_EMPTY_PATH);
    // SAFETY: the descriptor is open and the path is static and ends with a zero; a result that is not negative is a descriptor nobody
    // else has.
    unsafe {
        let tree = libc::syscall(libc::SYS_open_tree, file.as_fd().as_raw_fd(), c"".as_ptr(), flags);
        if tree < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(tree as i32))
    }
}

/// Takes rights away from a mount and from all below it.
pub fn restrict(mount: impl AsFd, rights: Rights) -> io::Result<()> {
    set_attributes(
        mount.as_fd().as_raw_fd(),
        c"",
        libc::AT_RECURSIVE | libc::AT_EMPTY_PATH,
        rights.bits(),
    )
}

/// Makes the mount at `/` read-only; those below it keep their rights.
pub fn make_root_read_only() -> io::Result<()> {
    set_attributes(libc::AT_FDCWD, c"/", 0, libc::MOUNT_ATTR_RDONLY)
}

fn set_attributes(directory: i32, path: &CStr, flags: i32, set: u64) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: set,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the path ends with a zero, the struct is whole, and its true size is given.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            directory,
            path.as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        ) as i32
    })
}

/// Puts a mount that is nowhere yet onto the open file or directory `onto`.
pub fn attach(mount: impl AsFd, onto: impl AsFd) -> io::Result<()> {
    // SAFETY: both descriptors are open; both paths are static and end with a zero.
    check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            onto.as_fd().as_raw_fd(),
            c"".as_ptr(),
            libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH,
        ) as i32
    })
}

fn text(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
