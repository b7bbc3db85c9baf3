// @aws-sdk/client-dynamodb: puts an item, gets it back, and is refused a second conditional put
// => {"item":{"id":{"S":"low level"},"n":{"N":"7"},"blob":{"B":"hello"}},"second":"ConditionalCheckFailedException"}
import { DynamoDBClient, GetItemCommand, PutItemCommand } from "@aws-sdk/client-dynamodb";

const dynamodb = new DynamoDBClient({});

export const handler = async () => {
  const id = { S: "low level" };
  const item = { id, n: { N: "7" }, blob: { B: Buffer.from("hello") } };
  await dynamodb.send(new PutItemCommand({ TableName: "things", Item: item }));
  const { Item } = await dynamodb.send(new GetItemCommand({ TableName: "things", Key: { id } }));
  const second = await dynamodb
    .send(new PutItemCommand({ TableName: "things", Item: item, ConditionExpression: "attribute_not_exists(id)" }))
    .catch((error) => error);
  return { item: { ...Item, blob: { B: Buffer.from(Item.blob.B).toString() } }, second: second.name };
};
