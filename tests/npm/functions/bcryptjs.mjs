// bcryptjs: hashes a password and compares
// => {"right":true,"wrong":false,"known":true}
import bcrypt from "bcryptjs";

export const handler = async () => {
  const hash = await bcrypt.hash("hunter2", 4);
  return {
    right: await bcrypt.compare("hunter2", hash),
    wrong: await bcrypt.compare("hunter3", hash),
    known: bcrypt.compareSync("abc", "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i"),
  };
};
