//! How much `/tmp` may hold, kept at the last place before the kernel.
//!
//! A directory has no size of its own that an ordinary user could set, and a file system in memory would end with the worker, while
//! `/tmp` outlives it. So this module, like `net`, stands where the C library does: it defines `write` and its kin for the program.
//! What is written to `/tmp` is added up; when the sum passes the quota, the directory is measured (blocks on the disk, each file once, those that
//! are deleted and still open too), and only what it really holds counts from then on. So overwriting and deleting cost nothing, and holes, links
//! and open files hide nothing.

#![allow(unsafe_code)]

use std::collections::HashSet;
use std::ffi::c_void;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

/// The quota; unset in the server.
static QUOTA: OnceLock<Quota> = OnceLock::new();

/// The most descriptors a worker may have (recorded from AWS: 1,024).
pub const DESCRIPTORS: u64 = 1024;

struct Quota {
    bytes: u64,
    directory: PathBuf,
    /// The mount that it was opened through. In a cage, `/tmp` is one of its own; without, no other file that may be written must be on it.
    mount: u64,
    /// At least what it holds.
    sum: AtomicU64,
    /// One measures at a time.
    measuring: Mutex<()>,
}

/// Bounds the function's `/tmp`, which is `directory`, to this many bytes, for good. What an earlier environment left there counts.
pub fn bound(directory: &Path, bytes: u64) {
    let opened = fs::File::open(directory).ok();
    let Some((_, mount)) = opened.and_then(|directory| place(directory.as_raw_fd())) else {
        return;
    };
    let quota = Quota {
        bytes,
        directory: directory.to_owned(),
        mount,
        sum: AtomicU64::new(0),
        measuring: Mutex::new(()),
    };
    quota.sum.store(quota.files(&mut HashSet::new()), Ordering::Relaxed);
    let _ = QUOTA.set(quota);
}

impl Quota {
    /// Takes note of `size` more bytes; false when there is no room for them.
    fn take(&self, size: u64) -> bool {
        if self.sum.fetch_add(size, Ordering::Relaxed) + size <= self.bytes {
            return true;
        }
        let _one = self.measuring.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let held = self.measure();
        let fits = held + size <= self.bytes;
        self.sum.store(if fits { held + size } else { held }, Ordering::Relaxed);
        fits
    }

    /// Bytes on the disk of all that is in `/tmp`, and of files that are open and in no directory any more.
    fn measure(&self) -> u64 {
        let mut seen = HashSet::new();
        let mut sum = self.files(&mut seen);
        for descriptor in 3..DESCRIPTORS as i32 {
            if !matches!(place(descriptor), Some((true, at)) if at == self.mount) {
                continue;
            }
            let mut found = std::mem::MaybeUninit::<libc::stat>::zeroed();
            // SAFETY: the kernel writes one whole struct, which is valid when zeroed, too.
            let found = unsafe {
                if libc::fstat(descriptor, found.as_mut_ptr()) != 0 {
                    continue;
                }
                found.assume_init()
            };
            if found.st_nlink == 0 && seen.insert(found.st_ino) {
                sum += found.st_blocks as u64 * 512;
            }
        }
        sum
    }

    /// Bytes on the disk of all that is in `/tmp`, each file once.
    fn files(&self, seen: &mut HashSet<u64>) -> u64 {
        let mut sum = 0;
        tree(&self.directory, seen, &mut sum);
        sum
    }
}

/// Whether a write of `size` bytes to the descriptor may go on.
fn allows(descriptor: i32, size: u64) -> bool {
    let Some(quota) = QUOTA.get() else { return true };
    match place(descriptor) {
        Some((true, mount)) if mount == quota.mount => quota.take(size),
        _ => true,
    }
}

/// Whether a descriptor is a plain file, and the mount that it was opened through.
fn place(descriptor: i32) -> Option<(bool, u64)> {
    let mut found = std::mem::MaybeUninit::<libc::statx>::zeroed();
    let mask = libc::STATX_TYPE | STATX_MNT_ID;
    // SAFETY: the kernel writes at most one whole struct, which is valid when zeroed, too; the path is static and ends with a zero.
    let found = unsafe {
        let path = c"".as_ptr();
        let result = libc::syscall(
            libc::SYS_statx,
            descriptor,
            path,
            libc::AT_EMPTY_PATH,
            mask,
            found.as_mut_ptr(),
        );
        if result != 0 {
            return None;
        }
        found.assume_init()
    };
    let kind = u32::from(found.stx_mode) & libc::S_IFMT;
    Some((kind == libc::S_IFREG, found.stx_mnt_id))
}

/// `STATX_MNT_ID` (linux/stat.h).
const STATX_MNT_ID: u32 = 0x1000;

fn tree(path: &Path, seen: &mut HashSet<u64>, sum: &mut u64) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let Ok(found) = entry.metadata() else { continue };
        if found.nlink() < 2 || found.is_dir() || seen.insert(found.ino()) {
            *sum += found.blocks() * 512;
        }
        if found.is_dir() {
            tree(&entry.path(), seen, sum);
        }
    }
}

// --- The C library's functions ---------------------------------------------------------------------------------------------

/// "No space left on device", as the C library says it.
fn full() -> libc::ssize_t {
    // SAFETY: the C library's errno of this thread.
    unsafe { *libc::__errno_location() = libc::ENOSPC };
    -1
}

/// `write(2)`, where there is room.
///
/// # Safety
///
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn write(descriptor: i32, data: *const c_void, size: usize) -> libc::ssize_t {
    if !allows(descriptor, size as u64) {
        return full();
    }
    // SAFETY: the caller's promise is passed on.
    unsafe { libc::syscall(libc::SYS_write, descriptor, data, size) as libc::ssize_t }
}

/// `pwrite64(2)`, where there is room.
///
/// # Safety
///
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite64(descriptor: i32, data: *const c_void, size: usize, at: i64) -> libc::ssize_t {
    if !allows(descriptor, size as u64) {
        return full();
    }
    // SAFETY: the caller's promise is passed on.
    unsafe { libc::syscall(libc::SYS_pwrite64, descriptor, data, size, at) as libc::ssize_t }
}

/// `writev(2)`, where there is room.
///
/// # Safety
///
/// As the C library's: `pieces` points at `count` of them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn writev(descriptor: i32, pieces: *const libc::iovec, count: i32) -> libc::ssize_t {
    // SAFETY: the caller's promise is passed on.
    unsafe {
        let size = (0..usize::try_from(count).unwrap_or(0))
            .map(|index| (*pieces.add(index)).iov_len as u64)
            .sum();
        if !allows(descriptor, size) {
            return full();
        }
        libc::syscall(libc::SYS_writev, descriptor, pieces, count) as libc::ssize_t
    }
}

/// `mkdir(2)`: a directory takes a block.
///
/// # Safety
///
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mkdir(path: *const libc::c_char, mode: libc::mode_t) -> i32 {
    if QUOTA.get().is_some_and(|quota| !quota.take(4096)) {
        return full() as i32;
    }
    // SAFETY: the caller's promise is passed on.
    unsafe { libc::syscall(libc::SYS_mkdirat, libc::AT_FDCWD, path, mode) as i32 }
}

/// `symlinkat(2)`: a link that is long takes a block.
///
/// # Safety
///
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn symlinkat(target: *const libc::c_char, directory: i32, name: *const libc::c_char) -> i32 {
    if QUOTA.get().is_some_and(|quota| !quota.take(4096)) {
        return full() as i32;
    }
    // SAFETY: the caller's promise is passed on.
    unsafe { libc::syscall(libc::SYS_symlinkat, target, directory, name) as i32 }
}
