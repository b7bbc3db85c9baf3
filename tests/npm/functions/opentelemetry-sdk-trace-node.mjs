// @opentelemetry/sdk-trace-node: makes a span inside a span, across an await
// => {"names":["inner","outer"],"child":true}
import { context, trace } from "@opentelemetry/api";
import { InMemorySpanExporter, NodeTracerProvider, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-node";

const exporter = new InMemorySpanExporter();
const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
provider.register();

export const handler = async () => {
  const tracer = trace.getTracer("shop");
  await tracer.startActiveSpan("outer", async (outer) => {
    await new Promise((resolve) => setTimeout(resolve, 1));
    tracer.startActiveSpan("inner", (inner) => inner.end());
    outer.end();
  });
  const [inner, outer] = exporter.getFinishedSpans();
  return { names: [inner.name, outer.name], child: inner.parentSpanContext.spanId === outer.spanContext().spanId };
};
