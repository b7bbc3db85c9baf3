// ioredis: sets and gets, one by one and in a pipeline
// => {"ping":"PONG","value":"one","piped":["OK","two",null]}
import Redis from "ioredis";

export const handler = async () => {
  const redis = new Redis({ host: "127.0.0.1", port: process.env.REDIS });
  const ping = await redis.ping();
  await redis.set("a", "one");
  const value = await redis.get("a");
  const piped = await redis.pipeline().set("b", "two").get("b").get("none").exec();
  await redis.quit();
  return { ping, value, piped: piped.map(([, result]) => result) };
};
