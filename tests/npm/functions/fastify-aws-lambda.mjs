// @fastify/aws-lambda, fastify: serves requests of an HTTP API; fastify validates and serialises by generated code
// => {"status":200,"body":{"id":7},"bad":400}
import awsLambdaFastify from "@fastify/aws-lambda";
import fastify from "fastify";

const app = fastify();
app.get("/orders/:id", {
  schema: {
    params: { type: "object", properties: { id: { type: "integer" } } },
    response: { 200: { type: "object", properties: { id: { type: "integer" } } } },
  },
}, async ({ params }) => ({ id: params.id, secret: "not in the schema" }));
const serve = awsLambdaFastify(app);

const event = (path) => ({
  version: "2.0",
  routeKey: "$default",
  rawPath: path,
  rawQueryString: "",
  headers: { host: "shop.example" },
  requestContext: { http: { method: "GET", path, protocol: "HTTP/1.1", sourceIp: "127.0.0.1", userAgent: "test" }, stage: "$default" },
  isBase64Encoded: false,
});

export const handler = async (_, context) => {
  const answer = await serve(event("/orders/7"), context);
  const bad = await serve(event("/orders/x"), context);
  return { status: answer.statusCode, body: JSON.parse(answer.body), bad: bad.statusCode };
};
