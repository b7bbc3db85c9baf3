// @aws-sdk/client-lambda: invokes a function and reads its answer
// => {"status":200,"version":"$LATEST","payload":{"echo":{"n":1}}}
import { InvokeCommand, LambdaClient } from "@aws-sdk/client-lambda";

const lambda = new LambdaClient({});

export const handler = async () => {
  const answer = await lambda.send(new InvokeCommand({ FunctionName: "echo", Payload: JSON.stringify({ n: 1 }) }));
  return {
    status: answer.StatusCode,
    version: answer.ExecutedVersion,
    payload: JSON.parse(Buffer.from(answer.Payload).toString()),
  };
};
