// xml2js: parses a document and builds another
// => {"parsed":{"order":{"$":{"id":"7"},"item":["a","b"]}},"built":"<a><b>1</b></a>"}
import { Builder, parseStringPromise } from "xml2js";

export const handler = async () => ({
  parsed: await parseStringPromise('<order id="7"><item>a</item><item>b</item></order>'),
  built: new Builder({ headless: true, renderOpts: { pretty: false } }).buildObject({ a: { b: 1 } }),
});
