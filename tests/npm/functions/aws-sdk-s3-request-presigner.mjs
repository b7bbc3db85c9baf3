// @aws-sdk/s3-request-presigner: presigns a download
// => {"host":"inbox.s3.us-east-1.amazonaws.com","path":"/a.txt","expires":"60","signature":64}
import { GetObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

export const handler = async () => {
  const s3 = new S3Client({ endpoint: "https://s3.us-east-1.amazonaws.com" });
  const url = new URL(await getSignedUrl(s3, new GetObjectCommand({ Bucket: "inbox", Key: "a.txt" }), { expiresIn: 60 }));
  return {
    host: url.host,
    path: url.pathname,
    expires: url.searchParams.get("X-Amz-Expires"),
    signature: url.searchParams.get("X-Amz-Signature").length,
  };
};
