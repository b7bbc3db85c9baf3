// @aws-sdk/client-sqs: sends a message, whose checksum the SDK verifies
// => {"id":"00000000-0000-0000-0000-000000000001"}
import { SendMessageCommand, SQSClient } from "@aws-sdk/client-sqs";

const sqs = new SQSClient({});

export const handler = async () => {
  const QueueUrl = `${process.env.AWS_ENDPOINT_URL}/123456789012/jobs`;
  const { MessageId } = await sqs.send(new SendMessageCommand({ QueueUrl, MessageBody: JSON.stringify({ job: 1 }) }));
  return { id: MessageId };
};
