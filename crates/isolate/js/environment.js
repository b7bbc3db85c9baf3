// What this environment runs: the function, and the invocation that it is at.

/** Shared by the scripts of the runtime client; user code never sees it. */
export const environment = {
  __proto__: null,
  /** The worker's WorkerInit. */
  settings: undefined,
  /** Major version of the Node.js that is stood in for. */
  node: 0,
  /** Its whole version. */
  version: "",
  /**
   * The id of the invocation that runs, for log lines. Before the first one it is what AWS's client logs then: `undefined` up to
   * Node.js 22, "-" later.
   */
  requestId: undefined,
  /** The tenant on whose behalf it runs, if any. */
  tenantId: undefined,
};

/**
 * Node.js 24 came with version 4 of AWS's client; what is older runs with version 3, which has callbacks (release notes of aws-lambda-ric;
 * github.com/aws/aws-lambda-base-images issue 392 shows 22 and 24 of January 2026 side by side).
 */
export const isModern = () => environment.node >= 24;
