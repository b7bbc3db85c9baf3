// aws-xray-sdk-core: sends a segment with a subsegment to the X-Ray daemon over UDP
// => {"name":"shop","subsegment":"work","annotation":7,"result":"done"}
import AWSXRay from "aws-xray-sdk-core";

export const handler = async (event, context) => {
  const segment = new AWSXRay.Segment("shop");
  segment.addMetadata("request", context.awsRequestId);
  const result = await AWSXRay.getNamespace().runPromise(async () => {
    AWSXRay.setSegment(segment);
    return await AWSXRay.captureAsyncFunc("work", async (subsegment) => {
      subsegment.addAnnotation("order", 7);
      subsegment.close();
      return "done";
    });
  });
  segment.close();
  const received = await fetch(`${process.env.URL}/segments/${context.awsRequestId}`);
  const { name, subsegments } = await received.json();
  return { name, subsegment: subsegments[0].name, annotation: subsegments[0].annotations.order, result };
};
