// express, serverless-http: serves requests of an HTTP API: parameters, JSON body, headers
// => {"status":201,"type":"application/json; charset=utf-8","body":{"id":"7","n":1,"q":"x"},"missing":404}
import express from "express";
import serverless from "serverless-http";

const app = express();
app.use(express.json());
app.post("/orders/:id", (request, response) =>
  response.status(201).json({ id: request.params.id, n: request.body.n, q: request.query.q }));
const serve = serverless(app);

const event = (method, rawPath, body) => ({
  version: "2.0",
  routeKey: "$default",
  rawPath,
  rawQueryString: "q=x",
  headers: { "content-type": "application/json", "content-length": `${body.length}`, host: "shop.example" },
  requestContext: { http: { method, path: rawPath, protocol: "HTTP/1.1", sourceIp: "127.0.0.1", userAgent: "test" }, stage: "$default" },
  body,
  isBase64Encoded: false,
});

export const handler = async (_, context) => {
  const answer = await serve(event("POST", "/orders/7", '{"n":1}'), context);
  const missing = await serve(event("GET", "/none", ""), context);
  return {
    status: answer.statusCode,
    type: answer.headers["content-type"],
    body: JSON.parse(answer.body),
    missing: missing.statusCode,
  };
};
