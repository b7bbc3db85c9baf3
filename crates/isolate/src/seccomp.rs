//! The system calls that a worker may make; any other is answered with "operation not permitted".
//!
//! What is left once user code is loaded is what V8, the C library, tokio and Deno's operations need for files, memory, time and, when the function
//! has a network, sockets. So there is no new process, no program, no look into another process, no mount, no key ring, no BPF, no io_uring.
//!
//! There are two filters, and the kernel asks both. The long list closes around the zygote, once, and every worker inherits it ([`enclose`]): the
//! kernel takes half a millisecond to translate it. The short one ([`Door`]) takes away from a worker what it needed to get ready.

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

/// Calls for new connections: of functions with a network only.
const NETWORK: &[i64] = &[
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept4,
    libc::SYS_accept,
    libc::SYS_sendmmsg,
    libc::SYS_recvmmsg,
];

/// Calls that make a worker and its cage: of the zygote, and of workers whose function is not loaded yet.
const MAKING: &[i64] = &[
    libc::SYS_setpgid,
    libc::SYS_unshare,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_capset,
    libc::SYS_setitimer,
    libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_add_rule,
    libc::SYS_landlock_restrict_self,
    libc::SYS_seccomp,
];

/// Calls that must look as if the kernel did not have them: the C library makes threads in the older way then, whose flags can be looked at,
/// and Rust's copies files by reading and writing, which `quota` counts.
const MISSING: [i64; 3] = [libc::SYS_clone3, libc::SYS_copy_file_range, libc::SYS_sendfile];

/// Restricts this process, which must have one thread, and all that are made from it, to what a worker needs in its whole life.
pub fn enclose() -> Result<(), Error> {
    let listed = ALWAYS.iter().chain(OLD).chain(NETWORK).chain(MAKING).chain(&MISSING);
    let rules = listed
        .chain(&[libc::SYS_socket, libc::SYS_clone, libc::SYS_tgkill])
        .map(|&call| (call, Vec::new()))
        .collect();
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    seccompiler::apply_filter(&program(rules, SeccompAction::Allow, refused)?)?;
    let missing = MISSING.into_iter().map(|call| (call, Vec::new())).collect();
    let unknown = SeccompAction::Errno(libc::ENOSYS as u32);
    seccompiler::apply_filter(&program(missing, unknown, SeccompAction::Allow)?)
}

/// The filters that close behind a worker, with and without a network, compiled before it is known which one does.
pub struct Door {
    network: BpfProgram,
    no_network: BpfProgram,
}

impl Door {
    /// Compiles them for this process.
    pub fn compile() -> Result<Self, Error> {
        Ok(Self {
            network: closing(true)?,
            no_network: closing(false)?,
        })
    }

    /// Restricts all threads of this process for good.
    pub fn close(&self, network: bool) -> Result<(), Error> {
        seccompiler::apply_filter_all_threads(if network { &self.network } else { &self.no_network })
    }
}

/// What a worker may not do any more. [`enclose`] has refused all that neither of them names.
fn closing(network: bool) -> Result<BpfProgram, Error> {
    let refused = MAKING.iter().chain(if network { &[] } else { NETWORK });
    let mut rules: BTreeMap<i64, Vec<Rule>> = refused.map(|&call| (call, Vec::new())).collect();
    let threads = Condition::new(0, Width::Qword, Is::MaskedEq(libc::CLONE_THREAD as u64), 0)?;
    rules.insert(libc::SYS_clone, vec![Rule::new(vec![threads])?]);
    let others = Condition::new(0, Width::Dword, Is::Ne, u64::from(std::process::id()))?;
    rules.insert(libc::SYS_tgkill, vec![Rule::new(vec![others])?]);
    // A function that took this signal over would not be looked at any more (`memory::watch`).
    let memory_guard = Condition::new(0, Width::Dword, Is::Eq, libc::SIGPROF as u64)?;
    rules.insert(libc::SYS_rt_sigaction, vec![Rule::new(vec![memory_guard])?]);
    let other_families = [libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK]
        .map(|family| Condition::new(0, Width::Dword, Is::Ne, family as u64));
    let socket = match network {
        true => vec![Rule::new(other_families.into_iter().collect::<Result<_, _>>()?)?],
        false => Vec::new(),
    };
    rules.insert(libc::SYS_socket, socket);
    program(rules, SeccompAction::Errno(libc::EPERM as u32), SeccompAction::Allow)
}

/// A program that answers the calls that match with one action, and all others with another.
fn program(
    rules: BTreeMap<i64, Vec<Rule>>,
    matching: SeccompAction,
    others: SeccompAction,
) -> Result<BpfProgram, Error> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    Ok(SeccompFilter::new(rules, others, matching, architecture)?.try_into()?)
}
