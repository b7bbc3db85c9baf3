import { readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";

const home = process.env.PROJECT;

export const handler = async (event) => {
  const summaries = [];
  for (const { s3 } of event.Records) {
    // Keys come form-encoded, as from S3.
    const key = decodeURIComponent(s3.object.key.replaceAll("+", " "));
    const text = await readFile(join(home, s3.bucket.name, key), "utf8");
    const rows = parse(text.replace(/^\uFEFF/, "")); // spreadsheets put a byte order mark first
    const summary = { file: key, size: s3.object.size, ...summarise(rows) };
    const target = `${basename(key, ".csv")}.summary.json`;
    await writeFile(join(home, "outbox", target), JSON.stringify(summary, null, 2) + "\n");
    console.log("summarised %s: %d rows -> outbox/%s", key, summary.rows, target);
    summaries.push(summary);
  }
  return summaries;
};

/** Lines, fields, quotes and doubled quotes (RFC 4180). */
function parse(text) {
  const rows = [[""]];
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    const row = rows.at(-1);
    if (quoted) {
      if (c !== '"') row[row.length - 1] += c;
      else if (text[i + 1] === '"') row[row.length - 1] += text[++i];
      else quoted = false;
    } else if (c === '"') quoted = true;
    else if (c === ",") row.push("");
    else if (c === "\n") rows.push([""]);
    else if (c !== "\r") row[row.length - 1] += c;
  }
  return rows.filter((row) => row.length > 1 || row[0] !== "");
}

/** The number of rows; of each column that holds numbers only: count, sum, smallest, largest and mean. */
function summarise([header = [], ...rows]) {
  const columns = {};
  header.forEach((name, column) => {
    const values = rows.map((row) => row[column] ?? "").filter((value) => value !== "").map(Number);
    if (values.length === 0 || values.some(Number.isNaN)) return;
    const fold = (join) => values.reduce((a, b) => join(a, b));
    const sum = fold((a, b) => a + b);
    const [min, max] = [fold((a, b) => Math.min(a, b)), fold((a, b) => Math.max(a, b))];
    columns[name] = { count: values.length, sum, min, max, mean: sum / values.length };
  });
  return { rows: rows.length, columns };
}
