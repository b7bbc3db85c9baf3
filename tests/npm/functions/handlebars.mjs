// handlebars: compiles a template (by generated code) and renders it
// => {"html":"Hello &lt;me&gt;: 1, 2, "}
import Handlebars from "handlebars";

const render = Handlebars.compile("Hello {{name}}: {{#each list}}{{this}}, {{/each}}");

export const handler = async () => ({ html: render({ name: "<me>", list: [1, 2] }) });
