import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

const home = process.env.PROJECT;

export const handler = async ({ report }) => {
  const orders = JSON.parse(await readFile(join(home, "data", "orders.json"), "utf8"));
  const key = report === "monthly" ? (order) => order.date.slice(0, 7) : (order) => order.date;
  const totals = {};
  for (const order of orders) {
    totals[key(order)] = (totals[key(order)] ?? 0) + order.quantity * order.price;
  }
  await writeFile(join(home, "reports", `sales-${report}.json`), JSON.stringify(totals, null, 2) + "\n");
  console.log("%s sales:", report, totals);
  return totals;
};
