// @aws-sdk/client-eventbridge: puts two events
// => {"failed":0,"ids":2}
import { EventBridgeClient, PutEventsCommand } from "@aws-sdk/client-eventbridge";

const events = new EventBridgeClient({});

export const handler = async () => {
  const entry = { Source: "shop", DetailType: "order", Detail: JSON.stringify({ id: 1 }) };
  const answer = await events.send(new PutEventsCommand({ Entries: [entry, { ...entry, Time: new Date(0) }] }));
  return { failed: answer.FailedEntryCount, ids: answer.Entries.filter(({ EventId }) => EventId).length };
};
