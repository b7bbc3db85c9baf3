// @aws-sdk/client-secrets-manager: reads a secret
// => {"secret":{"password":"hunter2"}}
import { GetSecretValueCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";

const secrets = new SecretsManagerClient({});

export const handler = async () => {
  const { SecretString } = await secrets.send(new GetSecretValueCommand({ SecretId: "database" }));
  return { secret: JSON.parse(SecretString) };
};
