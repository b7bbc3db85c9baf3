//! A function's memory limit: V8's heap, array buffers, and all that the process holds together, WebAssembly's memory for one.
//!
//! Whoever passes the limit is dead: the process tells the server in one write and leaves. Nothing is unwound, since V8 cannot be
//! trusted to get out of every allocation alive (a JSON.parse of 200 MB never looks at a termination request).

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use deno_core::v8;
use hikigane_executor::frames::OUT_OF_MEMORY_FRAME;

/// The heap a generic worker starts with; the function's own limit is set when the function is known.
pub const START: usize = 64 * 1024 * 1024;

/// The socket to the server, for [`die`].
static SOCKET: AtomicI32 = AtomicI32::new(-1);

/// Names the socket that the end is told to.
pub fn tell_end_to(socket: RawFd) {
    SOCKET.store(socket, Ordering::Relaxed);
}

/// Tells the server that memory is used up, and ends the process.
pub fn die() -> ! {
    let socket = SOCKET.load(Ordering::Relaxed);
    // SAFETY: a write of a static buffer to a descriptor that lives as long as the process, and an exit without destructors: both
    // are allowed at any point, inside V8's allocation paths and signal handlers too.
    unsafe {
        libc::write(socket, OUT_OF_MEMORY_FRAME.as_ptr().cast(), OUT_OF_MEMORY_FRAME.len());
        libc::_exit(137)
    }
}

/// Bytes that array buffers hold and may hold.
pub struct Buffers {
    used: AtomicUsize,
    limit: AtomicUsize,
}

impl Buffers {
    /// No buffer yet, at most `limit` bytes.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            used: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
        })
    }

    /// Sets the limit.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    fn take(&self, length: usize) {
        let used = self.used.fetch_add(length, Ordering::Relaxed) + length;
        if used > self.limit.load(Ordering::Relaxed) {
            die();
        }
    }
}

/// An allocator of array buffers that counts.
pub fn allocator(buffers: Arc<Buffers>) -> v8::UniqueRef<v8::Allocator> {
    static VTABLE: v8::RustAllocatorVtable<Buffers> = v8::RustAllocatorVtable {
        allocate,
        allocate_uninitialized,
        free,
        drop: drop_buffers,
    };
    // SAFETY: the handle is an `Arc` turned into a pointer, which `drop_buffers` turns back; the table's functions keep to malloc and free.
    unsafe { v8::new_rust_allocator(Arc::into_raw(buffers), &VTABLE) }
}

unsafe extern "C" fn allocate(buffers: &Buffers, length: usize) -> *mut c_void {
    buffers.take(length);
    // SAFETY: calloc takes any size; a null result is what V8 expects of a failure.
    unsafe { libc::calloc(length.max(1), 1) }
}

unsafe extern "C" fn allocate_uninitialized(buffers: &Buffers, length: usize) -> *mut c_void {
    buffers.take(length);
    // SAFETY: malloc takes any size.
    unsafe { libc::malloc(length.max(1)) }
}

unsafe extern "C" fn free(buffers: &Buffers, data: *mut c_void, length: usize) {
    buffers.used.fetch_sub(length, Ordering::Relaxed);
    // SAFETY: V8 gives back what one of the two functions above gave out, once.
    unsafe { libc::free(data) }
}

unsafe extern "C" fn drop_buffers(buffers: *const Buffers) {
    // SAFETY: the pointer comes from `Arc::into_raw` in `allocator`, and V8 drops it once.
    drop(unsafe { Arc::from_raw(buffers) });
}

/// For V8's own out-of-memory errors, which otherwise abort the process.
pub unsafe extern "C" fn on_v8_out_of_memory(_location: *const std::ffi::c_char, _details: &v8::OomDetails) {
    die();
}

/// Bounds the process's data: WebAssembly memory is counted by neither V8's heap nor its allocator.
pub fn bound_process(limit: usize) {
    let limit = libc::rlimit {
        rlim_cur: limit as libc::rlim_t,
        rlim_max: limit as libc::rlim_t,
    };
    // SAFETY: the struct is whole and lives through the call. A kernel that refuses leaves the old bound.
    unsafe {
        libc::setrlimit(libc::RLIMIT_DATA, &limit);
    }
}

/// What a process holds beside the function's own: the realm, most of it shared with the zygote, stacks, buffers of the runtime.
const BASE: usize = 48 * 1024 * 1024;
/// How much processor time passes between two looks at what the process holds. Memory that is taken is written to, which takes time.
const LOOK_EVERY: libc::suseconds_t = 10_000;

/// The file that says how many pages this process holds, for [`look`]; and the most that it may.
static PAGES_HELD: AtomicI32 = AtomicI32::new(-1);
static PAGES_ALLOWED: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Ends the process when all that it holds is more than `limit` and what a worker needs for itself. It is looked at by a signal that comes while
/// the process uses the processor: a frozen one costs nothing. To be called once, before the file is out of sight.
pub fn watch(limit: usize) -> std::io::Result<()> {
    let held = std::fs::File::open("/proc/self/statm")?;
    PAGES_HELD.store(std::os::fd::IntoRawFd::into_raw_fd(held), Ordering::Relaxed);
    PAGES_ALLOWED.store((limit + BASE) / 4096, Ordering::Relaxed);
    let every = libc::timeval {
        tv_sec: 0,
        tv_usec: LOOK_EVERY,
    };
    let timer = libc::itimerval {
        it_interval: every,
        it_value: every,
    };
    // SAFETY: the handler keeps to calls that are allowed in one (signal-safety(7)) and to atomics; both structs are whole and live through
    // the calls.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = look as extern "C" fn(libc::c_int) as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
        if libc::sigaction(libc::SIGPROF, &action, std::ptr::null_mut()) != 0
            || libc::setitimer(libc::ITIMER_PROF, &timer, std::ptr::null_mut()) != 0
        {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Compares what the process holds, without the files it has mapped, with what it may (proc(5), `statm`: pages in all, resident, shared ..).
extern "C" fn look(_signal: libc::c_int) {
    let mut text = [0u8; 64];
    // SAFETY: reads into a buffer of our own; errno is put back, since the code that was interrupted may be about to read it.
    let read = unsafe {
        let errno = *libc::__errno_location();
        let read = libc::pread(
            PAGES_HELD.load(Ordering::Relaxed),
            text.as_mut_ptr().cast(),
            text.len(),
            0,
        );
        *libc::__errno_location() = errno;
        read
    };
    let mut numbers = [0usize; 3];
    let mut place = 0;
    for &byte in &text[..usize::try_from(read).unwrap_or(0)] {
        match byte {
            b'0'..=b'9' => numbers[place] = numbers[place].wrapping_mul(10).wrapping_add(usize::from(byte - b'0')),
            _ if place == 2 => break,
            _ => place += 1,
        }
    }
    let [_, resident, shared] = numbers;
    if resident.saturating_sub(shared) > PAGES_ALLOWED.load(Ordering::Relaxed) {
        die();
    }
}

/// The most memory this process ever held, KiB.
pub fn max_rss_kib() -> u32 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: getrusage writes the whole struct, which is valid when zeroed, too.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    u32::try_from(usage.ru_maxrss).unwrap_or(u32::MAX)
}
