// @aws-lambda-powertools/parameters: reads a parameter and a secret, and the parameter again from its cache
// => {"parameter":"value of /app/name","again":"value of /app/name","secret":{"password":"hunter2"}}
import { getParameter } from "@aws-lambda-powertools/parameters/ssm";
import { getSecret } from "@aws-lambda-powertools/parameters/secrets";

export const handler = async () => ({
  parameter: await getParameter("/app/name"),
  again: await getParameter("/app/name"),
  secret: await getSecret("database", { transform: "json" }),
});
