// mongoose: validates a document against its schema, without a server
// => {"name":"me","errors":["age"],"id":24}
import mongoose from "mongoose";

const Person = mongoose.model("Person", new mongoose.Schema({ name: { type: String, trim: true }, age: { type: Number, min: 0 } }));

export const handler = async () => {
  const person = new Person({ name: " me ", age: -1 });
  const error = await person.validate().catch((error) => error);
  return { name: person.name, errors: Object.keys(error.errors), id: `${person._id}`.length };
};
