// mysql2: connects to a server and runs a query
// => {"rows":[{"n":1,"name":"one"}]}
import mysql from "mysql2/promise";

export const handler = async () => {
  const connection = await mysql.createConnection({ host: "127.0.0.1", port: process.env.MYSQL, user: "me", password: "secret" });
  const [rows] = await connection.query("SELECT n, name FROM things");
  await connection.end();
  return { rows };
};
