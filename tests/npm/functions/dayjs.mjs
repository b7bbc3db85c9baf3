// dayjs: formats in a time zone, with plug-ins
// => {"tokyo":"2026-01-01 09:00","month":"2026-02-28"}
import dayjs from "dayjs";
import timezone from "dayjs/plugin/timezone.js";
import utc from "dayjs/plugin/utc.js";

dayjs.extend(utc);
dayjs.extend(timezone);

export const handler = async () => ({
  tokyo: dayjs.utc("2026-01-01T00:00:00Z").tz("Asia/Tokyo").format("YYYY-MM-DD HH:mm"),
  month: dayjs.utc("2026-01-31").add(1, "month").format("YYYY-MM-DD"),
});
