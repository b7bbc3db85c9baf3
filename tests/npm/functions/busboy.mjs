// busboy: parses a form with a file
// => {"fields":{"name":"me"},"files":{"upload":["a.txt","hello"]}}
import busboy from "busboy";

export const handler = async () => {
  const body = '--x\r\nContent-Disposition: form-data; name="name"\r\n\r\nme\r\n--x\r\nContent-Disposition: form-data; name="upload"; filename="a.txt"\r\n\r\nhello\r\n--x--\r\n';
  const fields = {};
  const files = {};
  await new Promise((resolve, reject) => {
    const form = busboy({ headers: { "content-type": "multipart/form-data; boundary=x" } });
    form.on("field", (name, value) => (fields[name] = value));
    form.on("file", (name, stream, { filename }) => {
      let text = "";
      stream.on("data", (chunk) => (text += chunk)).on("end", () => (files[name] = [filename, text]));
    });
    form.on("close", resolve).on("error", reject).end(Buffer.from(body));
  });
  return { fields, files };
};
