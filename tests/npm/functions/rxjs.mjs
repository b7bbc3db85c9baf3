// rxjs: maps, filters and gathers a stream of values
// => {"values":[4,16]}
import { filter, from, lastValueFrom, map, toArray } from "rxjs";

export const handler = async () => ({
  values: await lastValueFrom(from([1, 2, 3, 4]).pipe(filter((n) => n % 2 === 0), map((n) => n * n), toArray())),
});
