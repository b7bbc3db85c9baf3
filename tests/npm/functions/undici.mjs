// undici: sends two requests over one pooled connection, and one by its own fetch
// => {"bodies":["1","2"],"fetched":"GET"}
import { fetch, Pool } from "undici";

export const handler = async () => {
  const pool = new Pool(process.env.URL, { connections: 1 });
  const bodies = [];
  for (const body of ["1", "2"]) {
    const answer = await pool.request({ path: "/echo", method: "POST", body });
    bodies.push((await answer.body.json()).body);
  }
  await pool.close();
  return { bodies, fetched: (await (await fetch(`${process.env.URL}/echo`)).json()).method };
};
