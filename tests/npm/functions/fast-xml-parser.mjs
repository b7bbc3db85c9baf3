// fast-xml-parser: parses a document with attributes
// => {"order":{"@_id":"7","item":["a","b"]}}
import { XMLParser } from "fast-xml-parser";

export const handler = async () =>
  new XMLParser({ ignoreAttributes: false }).parse('<order id="7"><item>a</item><item>b</item></order>');
