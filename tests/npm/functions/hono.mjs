// hono: serves a request of an HTTP API by its adapter for Lambda
// => {"status":200,"body":{"id":"7"}}
import { Hono } from "hono";
import { handle } from "hono/aws-lambda";

const app = new Hono();
app.get("/orders/:id", (context) => context.json({ id: context.req.param("id") }));
const serve = handle(app);

export const handler = async (_, context) => {
  const answer = await serve({
    version: "2.0", routeKey: "$default", rawPath: "/orders/7", rawQueryString: "", headers: { host: "shop.example" },
    requestContext: { http: { method: "GET", path: "/orders/7", protocol: "HTTP/1.1", sourceIp: "127.0.0.1", userAgent: "test" }, domainName: "shop.example", stage: "$default" },
    isBase64Encoded: false,
  }, context);
  return { status: answer.statusCode, body: JSON.parse(answer.body) };
};
