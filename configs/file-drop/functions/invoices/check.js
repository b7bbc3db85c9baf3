/** What is wrong with an invoice, as sentences; an empty list: nothing. */
export function check(text) {
  let invoice;
  try {
    invoice = JSON.parse(text);
  } catch (error) {
    return [`it is not JSON: ${error.message}`];
  }
  const problems = [];
  if (!/^[A-Z]{2}-\d+$/.test(invoice.number ?? "")) problems.push('"number" must look like FR-1234');
  if (!(invoice.lines?.length > 0)) problems.push('"lines" is empty');
  const sum = (invoice.lines ?? []).reduce((total, line) => total + line.quantity * line.price, 0);
  if (Math.abs(sum - invoice.total) > 0.005) problems.push(`"total" is ${invoice.total}, but the lines add up to ${sum}`);
  return problems;
}
