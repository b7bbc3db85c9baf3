// knex: builds a query
// => {"sql":"select \"n\", \"name\" from \"things\" where \"n\" = ?"}
import knex from "knex";

export const handler = async () => {
  const db = knex({ client: "pg" });
  const { sql } = db.select("n", "name").from("things").where({ n: 1 }).toSQL();
  return { sql };
};
