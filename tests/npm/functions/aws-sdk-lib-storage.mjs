// @aws-sdk/lib-storage: uploads a stream of unknown length
// => {"bucket":"uploads","stored":"0123456789"}
import { GetObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { Readable } from "node:stream";

const client = new S3Client({});

export const handler = async () => {
  const object = { Bucket: "uploads", Key: "streamed" };
  const done = await new Upload({ client, params: { ...object, Body: Readable.from([Buffer.from("01234"), Buffer.from("56789")]) } }).done();
  const got = await client.send(new GetObjectCommand(object));
  return { bucket: done.Bucket, stored: await got.Body.transformToString() };
};
