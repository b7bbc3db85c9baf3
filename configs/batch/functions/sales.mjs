import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

const home = process.env.PROJECT;

export const handler = async ({ report, slot }) => {
  const orders = JSON.parse(await readFile(join(home, "data", "orders.json"), "utf8"));
  // A monthly report is about the month of its slot, however late it is made up for.
  const month = report === "monthly" ? slot.slice(0, 7) : "";
  const totals = {};
  for (const { date, quantity, price } of orders.filter(({ date }) => date.startsWith(month))) {
    const key = month || date;
    totals[key] = (totals[key] ?? 0) + quantity * price;
  }
  await writeFile(join(home, "reports", `sales-${month || report}.json`), JSON.stringify(totals, null, 2) + "\n");
  console.log("%s sales:", report, totals);
  return totals;
};
