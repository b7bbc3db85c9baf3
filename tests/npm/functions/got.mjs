// got: posts JSON and retries what fails with 503 once
// => {"body":{"n":1},"attempts":2}
import got from "got";

export const handler = async () => {
  const { body } = await got.post(`${process.env.URL}/echo`, { json: { n: 1 } }).json();
  let attempts = 1;
  const retry = { limit: 1, calculateDelay: ({ attemptCount }) => (attempts += 1, attemptCount > 1 ? 0 : 1) };
  await got(`${process.env.URL}/busy`, { retry }).catch(() => {});
  return { body: JSON.parse(body), attempts: attempts - 1 };
};
