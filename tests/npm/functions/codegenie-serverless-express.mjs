// @codegenie/serverless-express, express: serves a request of an HTTP API
// => {"status":200,"body":{"path":"/hello","from":"event"}}
import serverlessExpress from "@codegenie/serverless-express";
import express from "express";

const app = express();
app.get("/hello", (request, response) =>
  response.json({ path: request.path, from: request.headers["x-from"] }));
const serve = serverlessExpress({ app });

export const handler = async (_, context) => {
  const answer = await serve({
    version: "2.0",
    routeKey: "$default",
    rawPath: "/hello",
    rawQueryString: "",
    headers: { "x-from": "event", host: "shop.example" },
    requestContext: { http: { method: "GET", path: "/hello", protocol: "HTTP/1.1", sourceIp: "127.0.0.1", userAgent: "test" }, stage: "$default" },
    isBase64Encoded: false,
  }, context);
  return { status: answer.statusCode, body: JSON.parse(answer.body) };
};
