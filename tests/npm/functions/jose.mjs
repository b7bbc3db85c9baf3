// jose: signs with ES256, verifies against a key set, and encrypts
// => {"subject":"me","plain":"hello","expired":"ERR_JWT_EXPIRED"}
import { CompactEncrypt, compactDecrypt, createLocalJWKSet, exportJWK, generateKeyPair, jwtVerify, SignJWT } from "jose";

export const handler = async () => {
  const { privateKey, publicKey } = await generateKeyPair("ES256", { extractable: true });
  const keys = createLocalJWKSet({ keys: [{ ...(await exportJWK(publicKey)), alg: "ES256" }] });
  const token = (expires) => new SignJWT({ sub: "me" }).setProtectedHeader({ alg: "ES256" }).setExpirationTime(expires).sign(privateKey);
  const secret = crypto.getRandomValues(new Uint8Array(32));
  const sealed = await new CompactEncrypt(new TextEncoder().encode("hello")).setProtectedHeader({ alg: "dir", enc: "A256GCM" }).encrypt(secret);
  return {
    subject: (await jwtVerify(await token("1h"), keys)).payload.sub,
    plain: new TextDecoder().decode((await compactDecrypt(sealed, secret)).plaintext),
    expired: (await jwtVerify(await token("1 hour ago"), keys).catch((error) => error)).code,
  };
};
