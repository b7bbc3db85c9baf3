// @aws-lambda-powertools/metrics: makes an embedded-metric-format document
// => {"namespace":"shop","orders":[2,3],"service":"checkout","unit":"Count"}
import { Metrics, MetricUnit } from "@aws-lambda-powertools/metrics";

const metrics = new Metrics({ namespace: "shop", serviceName: "checkout" });

export const handler = async () => {
  metrics.addMetric("orders", MetricUnit.Count, 2);
  metrics.addMetric("orders", MetricUnit.Count, 3);
  const document = metrics.serializeMetrics();
  const { Namespace, Metrics: list } = document._aws.CloudWatchMetrics[0];
  metrics.publishStoredMetrics();
  return { namespace: Namespace, orders: document.orders, service: document.service, unit: list[0].Unit };
};
