// date-fns: adds months and formats, in a locale
// => {"later":"2026-02-28","german":"Samstag, 31. Januar 2026","days":59}
import { addMonths, differenceInCalendarDays, format } from "date-fns";
import { de } from "date-fns/locale";

export const handler = async () => {
  const day = new Date(2026, 0, 31);
  return {
    later: format(addMonths(day, 1), "yyyy-MM-dd"),
    german: format(day, "PPPP", { locale: de }),
    days: differenceInCalendarDays(new Date(2026, 2, 31), day),
  };
};
