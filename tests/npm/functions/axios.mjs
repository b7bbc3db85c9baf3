// axios: posts JSON and reads the answer; an error status rejects
// => {"method":"POST","type":"application/json","body":{"n":1},"status":404}
import axios from "axios";

export const handler = async () => {
  const { data } = await axios.post(`${process.env.URL}/echo`, { n: 1 });
  const missing = await axios.get(`${process.env.URL}/missing`).catch((error) => error.response);
  return { method: data.method, type: data.type, body: JSON.parse(data.body), status: missing.status };
};
