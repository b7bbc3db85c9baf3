// luxon: converts between time zones across a change of the clocks, and formats in a locale
// => {"paris":"2026-03-29T03:30:00.000+02:00","german":"29. März 2026","valid":true}
import { DateTime } from "luxon";

export const handler = async () => {
  const time = DateTime.fromISO("2026-03-29T01:30:00Z", { zone: "Europe/Paris" });
  return { paris: time.toISO(), german: time.setLocale("de").toLocaleString(DateTime.DATE_FULL), valid: time.isValid };
};
