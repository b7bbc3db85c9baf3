// jsonwebtoken: signs and verifies with HMAC and RSA, and refuses a wrong key
// => {"hmac":"me","rsa":"me","wrong":"invalid signature"}
import jwt from "jsonwebtoken";
import { generateKeyPairSync } from "node:crypto";

export const handler = async () => {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const token = jwt.sign({ sub: "me" }, "secret", { expiresIn: "1h" });
  const signed = jwt.sign({ sub: "me" }, privateKey, { algorithm: "RS256" });
  const message = (act) => {
    try {
      return act();
    } catch (error) {
      return error.message;
    }
  };
  return {
    hmac: jwt.verify(token, "secret").sub,
    rsa: jwt.verify(signed, publicKey, { algorithms: ["RS256"] }).sub,
    wrong: message(() => jwt.verify(token, "other")),
  };
};
