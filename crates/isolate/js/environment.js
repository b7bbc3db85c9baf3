// What this environment runs: the function, and the invocation that it is at.

/** Shared by the scripts of the runtime client; user code never sees it. */
export const environment = {
  __proto__: null,
  /** The worker's WorkerInit. */
  settings: undefined,
  /** Major version of the Node.js that is stood in for. */
  node: 0,
  /**
   * The id of the invocation that runs, for log lines. Before the first one it is what AWS's client logs then: `undefined` up to
   * Node.js 22, "-" later.
   */
  requestId: undefined,
  /** The tenant on whose behalf it runs, if any. */
  tenantId: undefined,
};

/** Handlers may answer through a callback: up to Node.js 22 (AWS removed it with 24). */
export const hasCallbacks = () => environment.node < 24;

/** The rules of aws-lambda-ric 4, which differ from those of 3.3 in how handlers are found and errors are told. */
export const isModern = () => environment.node >= 22;
