// mongodb: encodes BSON, and is refused a connection where nobody listens
// => {"round":{"n":1,"list":["a"]},"id":24,"error":"MongoServerSelectionError","reason":"ECONNREFUSED"}
import { BSON, MongoClient, ObjectId } from "mongodb";

export const handler = async () => {
  const client = new MongoClient(`mongodb://127.0.0.1:1`, { serverSelectionTimeoutMS: 300 });
  const error = await client.connect().catch((error) => error);
  await client.close();
  return {
    round: BSON.deserialize(BSON.serialize({ n: 1, list: ["a"] })),
    id: new ObjectId().toHexString().length,
    error: error.name,
    reason: /ECONNREFUSED/.exec(error.message)?.[0] ?? error.message,
  };
};
