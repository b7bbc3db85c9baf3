// @aws-lambda-powertools/logger: writes a structured log line with the context of the invocation
// => {"level":"INFO","message":"hello","function_name":true,"cold_start":true,"order":7}
import { Logger } from "@aws-lambda-powertools/logger";

const logger = new Logger({ serviceName: "shop" });

export const handler = async (event, context) => {
  const lines = [];
  const { info } = console;
  console.info = (line) => lines.push(line);
  logger.console = console;
  logger.addContext(context);
  logger.info("hello", { order: 7 });
  console.info = info;
  const { level, message, function_name, cold_start, order } = JSON.parse(lines[0]);
  return { level, message, function_name: function_name === context.functionName, cold_start, order };
};
