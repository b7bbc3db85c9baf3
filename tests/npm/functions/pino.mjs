// pino: logs as JSON to a destination of its own, with redaction, and to standard output
// => {"level":30,"msg":"hello","user":{"name":"me","password":"[Redacted]"}}
import pino from "pino";

const standard = pino();

export const handler = async () => {
  const lines = [];
  const logger = pino({ redact: ["user.password"] }, { write: (line) => lines.push(line) });
  logger.info({ user: { name: "me", password: "secret" } }, "hello");
  standard.info("to standard output");
  const { level, msg, user } = JSON.parse(lines[0]);
  return { level, msg, user };
};
