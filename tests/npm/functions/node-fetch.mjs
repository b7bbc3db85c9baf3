// node-fetch: posts text and reads the answer as a stream
// => {"method":"POST","body":"hello"}
import fetch from "node-fetch";

export const handler = async () => {
  const response = await fetch(`${process.env.URL}/echo`, { method: "POST", body: "hello" });
  const chunks = [];
  for await (const chunk of response.body) chunks.push(chunk);
  const { method, body } = JSON.parse(Buffer.concat(chunks).toString());
  return { method, body };
};
