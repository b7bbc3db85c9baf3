import { copyFile, readFile, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";

import { check } from "./check.js";

const home = process.env.PROJECT;

export const handler = async (event) => {
  const [{ s3 }] = event.Records;
  const key = decodeURIComponent(s3.object.key.replaceAll("+", " "));
  const source = join(home, "drop", key);
  const name = basename(key);

  const problems = check(await readFile(source, "utf8"));
  const folder = problems.length === 0 ? "accepted" : "rejected";
  await copyFile(source, join(home, folder, name));
  if (problems.length > 0) {
    await writeFile(join(home, folder, `${name}.reason.txt`), problems.join("\n") + "\n");
    console.warn("%s rejected: %s", name, problems.join("; "));
  }
  await rm(source);
  return { name, folder, problems };
};
