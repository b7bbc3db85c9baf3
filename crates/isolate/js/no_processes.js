// Stands in for deno_process's script: a function cannot start processes. The errors are those that `node:child_process` gives for a
// program that may not be executed, so that callers find them where they look for them: in the callback, the `error` event, the result.

(function () {
const { primordials } = __bootstrap;
const { ArrayPrototypeSlice, Error, ObjectAssign, Symbol } = primordials;

function refuse(syscall, file, spawnargs) {
  throw ObjectAssign(new Error(`${syscall} ${file} EACCES: child processes are not available in a function`), {
    errno: -13,
    code: "EACCES",
    syscall: `${syscall} ${file}`,
    path: file,
    spawnargs,
  });
}

return {
  kNeedsNpmProcessState: Symbol("kNeedsNpmProcessState"),
  nodeSpawnChild: (file, options) => refuse("spawn", file, options.args),
  nodeSpawnSyncChild: ({ args }) => refuse("spawnSync", args[0], ArrayPrototypeSlice(args, 1)),
};
})();
