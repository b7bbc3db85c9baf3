// The whole life of a function with AWS's SDK for JavaScript, from inside of another function. Answers what it saw.
import {
  AddPermissionCommand,
  CreateAliasCommand,
  CreateFunctionCommand,
  CreateFunctionUrlConfigCommand,
  DeleteFunctionCommand,
  DeleteFunctionConcurrencyCommand,
  GetFunctionCommand,
  GetPolicyCommand,
  GetProvisionedConcurrencyConfigCommand,
  InvokeCommand,
  InvokeWithResponseStreamCommand,
  LambdaClient,
  PublishLayerVersionCommand,
  PublishVersionCommand,
  PutFunctionConcurrencyCommand,
  PutProvisionedConcurrencyConfigCommand,
  UpdateFunctionCodeCommand,
  UpdateFunctionConfigurationCommand,
  waitUntilFunctionActiveV2,
  waitUntilFunctionUpdatedV2,
} from "@aws-sdk/client-lambda";

const FunctionName = "made";
const client = new LambdaClient({ maxAttempts: 1 });
const waiting = { client, maxWaitTime: 30, minDelay: 1 };
const text = (bytes) => new TextDecoder().decode(bytes);
const invoke = async (name = FunctionName) => JSON.parse(text((await client.send(new InvokeCommand({ FunctionName: name }))).Payload));
const refused = (command) => client.send(command).then(() => "done", (error) => [error.name, error.Reason]);

export const handler = async ({ one, two, layer }) => {
  const seen = {};
  const made = await client.send(new CreateFunctionCommand({
    FunctionName,
    Runtime: "nodejs22.x",
    Handler: "index.handler",
    Role: "arn:aws:iam::000000000000:role/r",
    Code: { ZipFile: Buffer.from(one, "base64") },
  }));
  seen.made = [made.State, made.Version, made.MemorySize];
  await waitUntilFunctionActiveV2(waiting, { FunctionName });
  seen.first = await invoke();
  seen.published = (await client.send(new PublishVersionCommand({ FunctionName }))).Version;

  await client.send(new UpdateFunctionCodeCommand({ FunctionName, ZipFile: Buffer.from(two, "base64") }));
  await waitUntilFunctionUpdatedV2(waiting, { FunctionName });
  seen.second = await invoke();
  seen.publishedAgain = (await client.send(new PublishVersionCommand({ FunctionName }))).Version;
  const weights = { AdditionalVersionWeights: { 2: 0.5 } };
  await client.send(new CreateAliasCommand({ FunctionName, Name: "live", FunctionVersion: "1", RoutingConfig: weights }));
  const split = new Set();
  for (let calls = 0; calls < 64 && split.size < 2; calls++) split.add(await invoke(`${FunctionName}:live`));
  seen.split = [...split].sort();

  const stream = await client.send(new InvokeWithResponseStreamCommand({ FunctionName }));
  seen.stream = "";
  for await (const event of stream.EventStream) if (event.PayloadChunk) seen.stream += text(event.PayloadChunk.Payload);

  const published = await client.send(new PublishLayerVersionCommand({ LayerName: "shared", Content: { ZipFile: Buffer.from(layer, "base64") } }));
  await client.send(new UpdateFunctionConfigurationCommand({ FunctionName, Layers: [published.LayerVersionArn] }));
  await waitUntilFunctionUpdatedV2(waiting, { FunctionName });
  seen.layers = (await client.send(new GetFunctionCommand({ FunctionName }))).Configuration.Layers.length;

  await client.send(new PutFunctionConcurrencyCommand({ FunctionName, ReservedConcurrentExecutions: 0 }));
  seen.throttled = await refused(new InvokeCommand({ FunctionName }));
  await client.send(new DeleteFunctionConcurrencyCommand({ FunctionName }));
  await client.send(new PutProvisionedConcurrencyConfigCommand({ FunctionName, Qualifier: "2", ProvisionedConcurrentExecutions: 1 }));
  do {
    seen.provisioned = (await client.send(new GetProvisionedConcurrencyConfigCommand({ FunctionName, Qualifier: "2" }))).Status;
  } while (seen.provisioned === "IN_PROGRESS");

  seen.url = (await client.send(new CreateFunctionUrlConfigCommand({ FunctionName, AuthType: "NONE" }))).FunctionUrl.startsWith("http");
  await client.send(new AddPermissionCommand({
    FunctionName,
    StatementId: "everybody",
    Action: "lambda:InvokeFunctionUrl",
    Principal: "*",
    FunctionUrlAuthType: "NONE",
  }));
  seen.policy = JSON.parse((await client.send(new GetPolicyCommand({ FunctionName }))).Policy).Statement.length;

  await client.send(new DeleteFunctionCommand({ FunctionName }));
  seen.gone = await refused(new GetFunctionCommand({ FunctionName }));
  return seen;
};
