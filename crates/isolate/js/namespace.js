// The `Deno` object that Deno's Node.js polyfills read. It is no global: the build script binds it in each script that names it.

import { core, internals, primordials } from "ext:core/mod.js";
import { op_runtime_cpu_usage, op_runtime_memory_usage } from "ext:core/ops";

const { Float64Array, ObjectDefineProperty, ObjectSetPrototypeOf } = primordials;

const { errors } = core.loadExtScript("ext:runtime/errors.js");
const fs = core.loadExtScript("ext:deno_fs/30_fs.js");
const io = core.loadExtScript("ext:deno_io/12_io.js");
const net = core.loadExtScript("ext:deno_net/01_net.js");
const tls = core.loadExtScript("ext:deno_net/02_tls.js");
const os = core.loadExtScript("ext:deno_os/30_os.js");
const signals = core.loadExtScript("ext:deno_os/40_signals.js");
const timers = core.loadExtScript("ext:deno_web/02_timers.js");
const console = core.loadExtScript("ext:deno_web/01_console.js");
const httpClient = core.loadExtScript("ext:deno_fetch/22_http_client.js");

const usage = new Float64Array(4);

function refused(name) {
  return () => {
    throw new errors.NotSupported(`${name} is not available in a function`);
  };
}

const namespace = {
  __proto__: null,
  args: [],
  build: core.build,
  version: { deno: "", v8: "", typescript: "" },
  errors,
  noColor: true,
  inspect: console.inspect,
  pid: 2,
  ppid: 1,
  mainModule: "file:///var/runtime/index.mjs",

  env: os.env,
  exit: os.exit,
  execPath: () => "/var/lang/bin/node",
  loadavg: os.loadavg,
  osRelease: os.osRelease,
  osUptime: os.osUptime,
  hostname: os.hostname,
  systemMemoryInfo: os.systemMemoryInfo,
  networkInterfaces() {
    try {
      return os.networkInterfaces();
    } catch {
      // A function without a network has no socket to ask with.
      return [];
    }
  },
  gid: os.gid,
  uid: os.uid,
  addSignalListener(signal, listener) {
    // The guard of memory comes by it; to take it over is refused by the kernel, too.
    if (signal === "SIGPROF") {
      throw new errors.NotSupported("SIGPROF is not available in a Lambda function");
    }
    signals.addSignalListener(signal, listener);
  },
  removeSignalListener: signals.removeSignalListener,
  consoleSize: () => ({ columns: 80, rows: 24 }),
  cpuUsage() {
    op_runtime_cpu_usage(usage);
    return { system: usage[0], user: usage[1] };
  },
  memoryUsage() {
    op_runtime_memory_usage(usage);
    return { rss: usage[0], heapTotal: usage[1], heapUsed: usage[2], external: usage[3] };
  },
  refTimer: timers.refTimer,
  unrefTimer: timers.unrefTimer,

  stdin: io.stdin,
  stdout: io.stdout,
  stderr: io.stderr,
  SeekMode: io.SeekMode,
  FsFile: fs.FsFile,

  connect: net.connect,
  listen: net.listen,
  resolveDns: net.resolveDns,
  connectTls: tls.connectTls,
  listenTls: tls.listenTls,
  startTls: tls.startTls,
  HttpClient: httpClient.HttpClient,
  createHttpClient: httpClient.createHttpClient,

  Command: refused("child_process"),
  kill: refused("process.kill"),
  watchFs: refused("fs.watch"),
};

for (const name of [
  "chdir", "chmod", "chmodSync", "chown", "chownSync", "copyFile", "copyFileSync", "create", "createSync", "cwd", "link", "linkSync",
  "lstat", "lstatSync", "makeTempDir", "makeTempDirSync", "makeTempFile", "makeTempFileSync", "mkdir", "mkdirSync", "open", "openSync",
  "readDir", "readDirSync", "readFile", "readFileSync", "readLink", "readLinkSync", "readTextFile", "readTextFileSync", "realPath",
  "realPathSync", "remove", "removeSync", "rename", "renameSync", "stat", "statSync", "symlink", "symlinkSync", "truncate",
  "truncateSync", "umask", "utime", "utimeSync", "writeFile", "writeFileSync", "writeTextFile", "writeTextFileSync",
]) {
  namespace[name] = fs[name];
}

ObjectDefineProperty(namespace, "exitCode", {
  __proto__: null,
  get: () => os.getExitCode(),
  set: (value) => os.setExitCode(value),
});

/** Fills the object that the scripts hold. Not before a worker starts: while it is empty, they know that a snapshot is made. */
function installNamespace() {
  ObjectSetPrototypeOf(internals.deno ??= { __proto__: null }, namespace);
}

export { errors, installNamespace, namespace };
