// winston: logs through a stream of its own and to the console
// => {"line":{"level":"info","message":"hello","order":7}}
import { PassThrough } from "node:stream";
import winston from "winston";

export const handler = async () => {
  const stream = new PassThrough();
  const logger = winston.createLogger({
    format: winston.format.json(),
    transports: [new winston.transports.Stream({ stream }), new winston.transports.Console()],
  });
  logger.info("hello", { order: 7 });
  const [line] = await new Promise((resolve) => stream.once("data", (...values) => resolve(values)));
  return { line: JSON.parse(line) };
};
