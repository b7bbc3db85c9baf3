// lodash: groups, sorts and merges
// => {"groups":{"a":[1,3],"b":[2]},"merged":{"x":{"y":1,"z":2}},"chunk":[[1,2],[3]]}
import _ from "lodash";

export const handler = async () => ({
  groups: _.mapValues(_.groupBy([{ k: "a", v: 1 }, { k: "b", v: 2 }, { k: "a", v: 3 }], "k"), (list) => _.map(list, "v")),
  merged: _.merge({ x: { y: 1 } }, { x: { z: 2 } }),
  chunk: _.chunk([1, 2, 3], 2),
});
