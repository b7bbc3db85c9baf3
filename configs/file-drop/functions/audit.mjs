import { appendFile } from "node:fs/promises";
import { join } from "node:path";

const list = join(process.env.PROJECT, "accepted", "audit.log");

export const handler = async (event) => {
  const [{ eventTime, s3 }] = event.Records;
  await appendFile(list, `${eventTime} ${decodeURIComponent(s3.object.key.replaceAll("+", " "))}\n`);
};
