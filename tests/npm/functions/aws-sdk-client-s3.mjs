// @aws-sdk/client-s3: puts an object, gets it back as a string and lists the bucket
// => {"etag":"\"5d41402abc4b2a76b9719d911017c592\"","body":"hello","type":"text/plain","author":"me","keys":["in/a b&c.txt"],"missing":"NoSuchKey"}
import { GetObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";

const s3 = new S3Client({});

export const handler = async () => {
  const object = { Bucket: "inbox", Key: "in/a b&c.txt" };
  const put = await s3.send(
    new PutObjectCommand({ ...object, Body: "hello", ContentType: "text/plain", Metadata: { author: "me" } }),
  );
  const got = await s3.send(new GetObjectCommand(object));
  const list = await s3.send(new ListObjectsV2Command({ Bucket: "inbox", Prefix: "in/" }));
  const missing = await s3.send(new GetObjectCommand({ ...object, Key: "none" })).catch((error) => error);
  return {
    etag: put.ETag,
    body: await got.Body.transformToString(),
    type: got.ContentType,
    author: got.Metadata.author,
    keys: list.Contents.map(({ Key }) => Key),
    missing: missing.name,
  };
};
