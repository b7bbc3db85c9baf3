// ajv: compiles a JSON Schema (by generated code) and validates with it
// => {"good":true,"bad":["/n must be integer"]}
import { Ajv } from "ajv";

const validate = new Ajv().compile({ type: "object", properties: { n: { type: "integer" } }, required: ["n"] });

export const handler = async () => {
  const good = validate({ n: 1 });
  validate({ n: "1" });
  return { good, bad: validate.errors.map(({ instancePath, message }) => `${instancePath} ${message}`) };
};
