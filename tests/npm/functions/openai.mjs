// openai: posts a request to a server of the test
// => {"method":"POST","model":"m"}
import OpenAI from "openai";

export const handler = async () => {
  const openai = new OpenAI({ apiKey: "key", baseURL: process.env.URL });
  const answer = await openai.post("/echo", { body: { model: "m" } });
  return { method: answer.method, model: JSON.parse(answer.body).model };
};
