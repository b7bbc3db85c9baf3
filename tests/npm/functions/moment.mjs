// moment: parses, adds and formats in a locale that it loads by name
// => {"later":"2026-02-28T00:00:00.000Z","french":"31 janvier 2026"}
import moment from "moment";
import "moment/locale/fr.js";

export const handler = async () => ({
  later: moment.utc("2026-01-31").add(1, "month").toISOString(),
  french: moment.utc("2026-01-31").locale("fr").format("LL"),
});
