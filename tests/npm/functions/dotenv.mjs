// dotenv: parses a file's text, and loads one that a function wrote to /tmp
// => {"parsed":{"A":"1","B":"x y"},"loaded":"yes"}
import dotenv from "dotenv";
import { writeFileSync } from "node:fs";
import { tmpdir } from "node:os";

export const handler = async () => {
  const path = `${tmpdir()}/.env`;
  writeFileSync(path, "LOADED=yes\n");
  dotenv.config({ path, quiet: true });
  return { parsed: dotenv.parse('A=1\nB="x y"\n'), loaded: process.env.LOADED };
};
