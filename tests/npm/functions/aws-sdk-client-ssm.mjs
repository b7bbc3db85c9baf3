// @aws-sdk/client-ssm: reads a parameter with decryption
// => {"value":"value of /app/url","version":3}
import { GetParameterCommand, SSMClient } from "@aws-sdk/client-ssm";

const ssm = new SSMClient({});

export const handler = async () => {
  const { Parameter } = await ssm.send(new GetParameterCommand({ Name: "/app/url", WithDecryption: true }));
  return { value: Parameter.Value, version: Parameter.Version };
};
