// @aws-lambda-powertools/idempotency: runs a payment once for two equal requests, over DynamoDB
// => {"answers":[{"paid":1},{"paid":1}],"runs":1}
import { makeIdempotent } from "@aws-lambda-powertools/idempotency";
import { DynamoDBPersistenceLayer } from "@aws-lambda-powertools/idempotency/dynamodb";

const persistenceStore = new DynamoDBPersistenceLayer({ tableName: "idempotency" });

export const handler = async (event, context) => {
  let runs = 0;
  const pay = makeIdempotent(async () => ({ paid: ++runs }), { persistenceStore });
  const order = { order: context.awsRequestId };
  return { answers: [await pay(order), await pay(order)], runs };
};
