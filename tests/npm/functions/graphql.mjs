// graphql: executes a query
// => {"data":{"hello":"Hello me"},"wrong":"Cannot query field \"other\" on type \"Query\"."}
import { buildSchema, graphql } from "graphql";

const schema = buildSchema("type Query { hello(name: String!): String }");
const rootValue = { hello: ({ name }) => `Hello ${name}` };

export const handler = async () => {
  const { data } = await graphql({ schema, rootValue, source: 'query { hello(name: "me") }' });
  const { errors } = await graphql({ schema, rootValue, source: "query { other }" });
  return { data, wrong: errors[0].message };
};
