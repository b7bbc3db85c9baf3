// @aws-sdk/client-sns: publishes a message
// => {"id":"00000000-0000-0000-0000-000000000002"}
import { PublishCommand, SNSClient } from "@aws-sdk/client-sns";

const sns = new SNSClient({});

export const handler = async () => {
  const TopicArn = "arn:aws:sns:us-east-1:123456789012:news";
  const { MessageId } = await sns.send(new PublishCommand({ TopicArn, Message: "it & that", Subject: "news" }));
  return { id: MessageId };
};
