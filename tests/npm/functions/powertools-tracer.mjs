// @aws-lambda-powertools/tracer: sends a subsegment of the invocation's trace to the X-Ray daemon, with an annotation
// => {"name":"## work","annotations":{"order":7},"root":"1-5759e988-bd862e3fe1be46a994272793"}
import { Tracer } from "@aws-lambda-powertools/tracer";

const tracer = new Tracer({ serviceName: "shop" });

export const handler = async (event, context) => {
  const segment = tracer.getSegment();
  const work = segment.addNewSubsegment("## work");
  tracer.setSegment(work);
  tracer.putAnnotation("order", 7);
  tracer.putMetadata("request", context.awsRequestId);
  work.close();
  tracer.setSegment(segment);
  const received = await fetch(`${process.env.URL}/segments/${context.awsRequestId}`);
  const { name, annotations, trace_id } = await received.json();
  return { name, annotations, root: trace_id };
};
