// nanoid: makes identifiers of a length and of an alphabet
// => {"length":21,"different":true,"custom":true}
import { customAlphabet, nanoid } from "nanoid";

export const handler = async () => ({
  length: nanoid().length,
  different: nanoid() !== nanoid(),
  custom: /^[abc]{10}$/.test(customAlphabet("abc", 10)()),
});
