// stripe: calls the API, on a server of the test, and verifies a webhook's signature
// => {"method":"POST","body":"amount=100&currency=eur","event":"paid","forged":"StripeSignatureVerificationError"}
import Stripe from "stripe";

export const handler = async () => {
  const { hostname, port } = new URL(process.env.URL);
  const stripe = new Stripe("sk_test", { host: hostname, port, protocol: "http", maxNetworkRetries: 0 });
  const answer = await stripe.rawRequest("POST", "/echo", { amount: 100, currency: "eur" });
  const payload = JSON.stringify({ object: "event", type: "paid" });
  const header = stripe.webhooks.generateTestHeaderString({ payload, secret: "whsec" });
  const event = stripe.webhooks.constructEvent(payload, header, "whsec");
  let forged;
  try {
    stripe.webhooks.constructEvent(payload, header, "other");
  } catch (error) {
    forged = error.type;
  }
  return { method: answer.method, body: answer.body, event: event.type, forged };
};
