// csv-parse: parses a document at once, and another from a stream
// => {"rows":[{"a":"1","b":"x, y"}],"streamed":[["1","2"],["3","4"]]}
import { parse } from "csv-parse";
import { parse as parseSync } from "csv-parse/sync";
import { Readable } from "node:stream";

export const handler = async () => {
  const streamed = [];
  for await (const row of Readable.from(["1,2\n3", ",4\n"]).pipe(parse())) streamed.push(row);
  return { rows: parseSync('a,b\n1,"x, y"\n', { columns: true }), streamed };
};
