// @aws-sdk/lib-dynamodb: puts and gets plain JavaScript values
// => {"id":"document","tags":["a","b"],"nested":{"yes":true,"none":null},"n":7.5}
import { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { DynamoDBDocumentClient, GetCommand, PutCommand } from "@aws-sdk/lib-dynamodb";

const documents = DynamoDBDocumentClient.from(new DynamoDBClient({}));

export const handler = async () => {
  const item = { id: "document", tags: ["a", "b"], nested: { yes: true, none: null }, n: 7.5 };
  await documents.send(new PutCommand({ TableName: "things", Item: item }));
  const { Item } = await documents.send(new GetCommand({ TableName: "things", Key: { id: "document" } }));
  return Item;
};
