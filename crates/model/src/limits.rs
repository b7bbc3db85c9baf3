//! AWS Lambda's limits (AWS documentation, "Lambda quotas"; the response limit as recorded from AWS).

/// Largest request payload of a synchronous invocation, bytes (6 MB).
pub const SYNC_PAYLOAD: usize = 6 * 1024 * 1024;
/// Largest request payload of an asynchronous invocation, bytes (1 MB).
pub const ASYNC_PAYLOAD: usize = 1024 * 1024;
/// Largest request payload of the deprecated InvokeAsync, bytes (256 KB).
pub const INVOKE_ASYNC_PAYLOAD: usize = 256 * 1024;
/// Largest response payload of a buffered invocation, bytes (6 MiB + 100).
pub const RESPONSE_PAYLOAD: usize = 6_291_556;
/// Largest response payload that is streamed, bytes (200 MB).
pub const STREAMED_RESPONSE: usize = 200 * 1024 * 1024;
/// Function timeout, seconds: smallest, default, largest.
pub const TIMEOUT: (u32, u32, u32) = (1, 3, 900);
/// Function memory, MB: smallest, default, largest.
pub const MEMORY: (u32, u32, u32) = (128, 128, 10_240);
/// Size of `/tmp`, MB: smallest and default, largest.
pub const EPHEMERAL_STORAGE: (u32, u32) = (512, 10_240);
/// Concurrent executions of all functions together, unless configured otherwise.
pub const ACCOUNT_CONCURRENCY: u32 = 1_000;
/// The most that it can be configured to. AWS raises it on request, to tens of thousands.
pub const MAX_ACCOUNT_CONCURRENCY: u32 = 100_000;
/// Concurrency that reservations must leave to the functions without one.
pub const UNRESERVED_CONCURRENCY: u32 = 100;
/// Longest an initialisation may take before it is redone under the function's own timeout, seconds.
pub const INIT_SECONDS: u32 = 10;
/// Retries after a function error of an asynchronous invocation: default and largest.
pub const RETRIES: u32 = 2;
/// Age of an asynchronous event, seconds: smallest, and default and largest (6 hours).
pub const EVENT_AGE: (u32, u32) = (60, 21_600);
/// Waits before the first and the second retry after a function error, seconds.
pub const RETRY_WAITS: [u32; 2] = [60, 120];
/// The tail of the log that `LogType=Tail` returns, bytes.
pub const LOG_TAIL: usize = 4 * 1024;
/// All environment variables of a function together, bytes of their JSON.
pub const ENVIRONMENT: usize = 4 * 1024;
/// Layers of a function at most.
pub const LAYERS: usize = 5;
/// All packages of all functions and layers together, bytes (75 GB).
pub const CODE_STORAGE: u64 = 80_530_636_800;
/// Code and layers of a function together, unzipped, bytes (250 MB).
pub const UNZIPPED: u64 = 262_144_000;
/// How often the ends of asynchronous invocations may lead back to one function (AWS documentation, "Use Lambda recursive loop detection":
/// about 16 times).
pub const LOOP: u32 = 16;
/// A package that is sent in a request, zipped, bytes (50 MB).
pub const ZIPPED: u64 = 52_428_800;
/// A policy of a function or layer version, bytes of its JSON (20 KB).
pub const POLICY: usize = 20 * 1024;
