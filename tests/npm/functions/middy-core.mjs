// @middy/core: wraps a handler in middleware: before, after, on error
// => {"good":{"doubled":4},"bad":{"caught":"no number"}}
import middy from "@middy/core";

const double = middy(async ({ n }) => {
  if (typeof n !== "number") throw new Error("no number");
  return { doubled: n * 2 };
}).use({
  before: (request) => void (request.event = { ...request.event, n: request.event.n ?? "missing" }),
  onError: (request) => void (request.response = { caught: request.error.message }),
});

export const handler = async (_, context) => ({ good: await double({ n: 2 }, context), bad: await double({}, context) });
