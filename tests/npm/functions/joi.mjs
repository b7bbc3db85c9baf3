// joi: validates a value and reports what is wrong with another
// => {"value":{"n":7},"message":"\"n\" must be a number"}
import Joi from "joi";

const schema = Joi.object({ n: Joi.number().required() });

export const handler = async () => ({
  value: schema.validate({ n: "7" }).value,
  message: schema.validate({ n: "x" }).error.message,
});
