// pg: connects to a server through a pool and runs a query
// => {"rows":[{"n":1,"name":"one"}]}
import pg from "pg";

export const handler = async () => {
  const pool = new pg.Pool({ host: "127.0.0.1", port: process.env.POSTGRES, user: "me", database: "shop" });
  const { rows } = await pool.query("SELECT n, name FROM things");
  await pool.end();
  return { rows };
};
