// cheerio: parses a page, selects and changes it
// => {"links":["/a","/b"],"html":"<ul><li><a href=\"/a\" class=\"x\">1</a></li><li><a href=\"/b\" class=\"x\">2</a></li></ul>"}
import * as cheerio from "cheerio";

export const handler = async () => {
  const $ = cheerio.load('<ul><li><a href="/a">1<li><a href="/b">2</ul>');
  $("a").addClass("x");
  return { links: $("a").map((_, a) => $(a).attr("href")).get(), html: $("body").html() };
};
