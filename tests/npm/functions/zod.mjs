// zod: parses a value and reports what is wrong with another
// => {"order":{"id":7,"mail":"a@b.example"},"issues":[["id"],["mail"]]}
import { z } from "zod";

const Order = z.object({ id: z.coerce.number().int(), mail: z.email() });

export const handler = async () => ({
  order: Order.parse({ id: "7", mail: "a@b.example", more: true }),
  issues: Order.safeParse({ id: "x", mail: "y" }).error.issues.map(({ path }) => path),
});
