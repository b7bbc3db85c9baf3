//! The system calls that a worker may make once user code is loaded; any other is answered with "operation not permitted".
//!
//! What is listed is what V8, the C library, tokio and Deno's operations need for files, memory, time and, when the function has a network,
//! sockets. So there is no new process, no program, no look into another process, no mount, no key ring, no BPF, no io_uring.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen as Width, SeccompCmpOp as Is, SeccompCondition as Condition,
    SeccompFilter, SeccompRule as Rule, TargetArch,
};

/// Calls for files, memory, threads and time.
const ALWAYS: &[i64] = &[
    // Files.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_lseek,
    libc::SYS_fcntl,
    libc::SYS_flock,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync_file_range,
    libc::SYS_ftruncate,
    libc::SYS_truncate,
    libc::SYS_fadvise64,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_chdir,
    libc::SYS_fchdir,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchmodat2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_umask,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    libc::SYS_ioctl,
    libc::SYS_getxattr,
    libc::SYS_lgetxattr,
    libc::SYS_fgetxattr,
    // Memory.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_mincore,
    libc::SYS_mlock,
    libc::SYS_munlock,
    libc::SYS_msync,
    libc::SYS_membarrier,
    libc::SYS_pkey_alloc,
    libc::SYS_pkey_free,
    libc::SYS_pkey_mprotect,
    libc::SYS_get_mempolicy,
    // Threads and signals of this process.
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_futex_waitv,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_rseq,
    libc::SYS_set_tid_address,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min,
    libc::SYS_getpriority,
    libc::SYS_setpriority,
    libc::SYS_prctl,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getppid,
    libc::SYS_getpgid,
    libc::SYS_getsid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getresuid,
    libc::SYS_getresgid,
    libc::SYS_getgroups,
    libc::SYS_getrusage,
    libc::SYS_prlimit64,
    libc::SYS_getrlimit,
    libc::SYS_setrlimit,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getcpu,
    libc::SYS_getrandom,
    // Time and waiting.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_times,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    // What the sockets that are there need, among them the worker's own.
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
];

/// Older forms of the same calls, which newer processors' kernels do not have.
#[cfg(target_arch = "x86_64")]
const OLD: &[i64] = &[
    libc::SYS_open,
    libc::SYS_creat,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_mkdir,
    libc::SYS_rmdir,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_link,
    libc::SYS_symlink,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
    libc::SYS_getdents,
    libc::SYS_dup2,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd,
    libc::SYS_time,
    libc::SYS_getpgrp,
    libc::SYS_arch_prctl,
    libc::SYS_alarm,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[i64] = &[];

/// Calls for new connections.
const NETWORK: &[i64] = &[
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept4,
    libc::SYS_accept,
    libc::SYS_sendmmsg,
    libc::SYS_recvmmsg,
];

/// Calls that must look as if the kernel did not have them.
const MISSING: [i64; 3] = [libc::SYS_clone3, libc::SYS_copy_file_range, libc::SYS_sendfile];

/// The filters of this process, with and without a network, compiled before it is known which it takes.
pub struct Filters {
    open: (BpfProgram, BpfProgram),
    closed: (BpfProgram, BpfProgram),
}

impl Filters {
    /// Compiles them.
    pub fn compile() -> Result<Self, Error> {
        Ok(Self {
            open: programs(true)?,
            closed: programs(false)?,
        })
    }

    /// Restricts all threads of this process for good.
    pub fn apply(&self, network: bool) -> Result<(), Error> {
        let (allowed, missing) = if network { &self.open } else { &self.closed };
        seccompiler::apply_filter_all_threads(missing)?;
        seccompiler::apply_filter_all_threads(allowed)
    }
}

/// The list, and a second program for calls that must look as if the kernel did not have them: the C library makes threads in the
/// older way then, whose flags can be looked at, and Rust's copies files by reading and writing, which `quota` counts.
fn programs(network: bool) -> Result<(BpfProgram, BpfProgram), Error> {
    let mut rules: BTreeMap<i64, Vec<Rule>> = ALWAYS.iter().chain(OLD).map(|&call| (call, Vec::new())).collect();
    rules.insert(libc::SYS_clone, vec![threads_only()?]);
    rules.insert(libc::SYS_tgkill, vec![this_process_only()?]);
    rules.insert(libc::SYS_rt_sigaction, vec![not_of_the_memory_guard()?]);
    // What the program below answers must not be answered here.
    for call in MISSING {
        rules.insert(call, Vec::new());
    }
    if network {
        rules.extend(NETWORK.iter().map(|&call| (call, Vec::new())));
        let families = [libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
        let families: Result<_, Error> = families.into_iter().map(family).collect();
        rules.insert(libc::SYS_socket, families?);
    }
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let allowed = SeccompFilter::new(rules, refused, SeccompAction::Allow, architecture)?;
    let missing = SeccompFilter::new(
        MISSING.into_iter().map(|call| (call, Vec::new())).collect(),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS as u32),
        architecture,
    )?;
    Ok((allowed.try_into()?, missing.try_into()?))
}

fn threads_only() -> Result<Rule, Error> {
    let flag = libc::CLONE_THREAD as u64;
    Ok(Rule::new(vec![Condition::new(
        0,
        Width::Qword,
        Is::MaskedEq(flag),
        flag,
    )?])?)
}

/// A function that took this signal over would not be looked at any more (`memory::watch`).
fn not_of_the_memory_guard() -> Result<Rule, Error> {
    let signal = libc::SIGPROF as u64;
    Ok(Rule::new(vec![Condition::new(0, Width::Dword, Is::Ne, signal)?])?)
}

fn this_process_only() -> Result<Rule, Error> {
    let process = u64::from(std::process::id());
    Ok(Rule::new(vec![Condition::new(0, Width::Dword, Is::Eq, process)?])?)
}

fn family(family: i32) -> Result<Rule, Error> {
    Ok(Rule::new(vec![Condition::new(
        0,
        Width::Dword,
        Is::Eq,
        family as u64,
    )?])?)
}
