import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

const outbox = join(process.env.PROJECT, "outbox");

export const handler = async (event) => {
  const summaries = (await readdir(outbox)).filter((name) => name.endsWith(".summary.json")).sort();
  const report = { slot: event.time, summaries: summaries.length, names: summaries };
  await writeFile(join(outbox, "report.json"), JSON.stringify(report, null, 2) + "\n");
  console.log("%s: %d summaries", event.time, summaries.length);
  return report;
};
