const fs = require("node:fs");
const path = require("node:path");

const home = process.env.PROJECT;
const read = (name) => JSON.parse(fs.readFileSync(path.join(home, "data", name), "utf8"));

exports.handler = async () => {
  const sold = new Map();
  for (const { item, quantity } of read("orders.json")) {
    sold.set(item, (sold.get(item) ?? 0) + quantity);
  }
  const lines = read("stock.json")
    .map(({ item, inStock, reorderAt }) => ({ item, left: inStock - (sold.get(item) ?? 0), reorderAt }))
    .filter(({ left, reorderAt }) => left < reorderAt)
    .map(({ item, left }) => `${item}: ${left} left`);
  fs.writeFileSync(path.join(home, "reports", "reorder.txt"), lines.join("\n") + "\n");
  console.info("to be ordered: %s", lines.join("; ") || "nothing");
  return lines;
};
