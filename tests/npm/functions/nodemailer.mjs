// nodemailer: composes a mail with an attachment
// => {"subject":true,"boundary":true,"attachment":true}
import nodemailer from "nodemailer";

export const handler = async () => {
  const transport = nodemailer.createTransport({ streamTransport: true, buffer: true });
  const { message } = await transport.sendMail({
    from: "a@shop.example", to: "b@shop.example", subject: "Hällo", text: "hello", attachments: [{ filename: "a.txt", content: "attached" }],
  });
  const text = message.toString();
  return {
    subject: text.includes("Subject: =?UTF-8?Q?H=C3=A4llo?="),
    boundary: /boundary="/.test(text),
    attachment: text.includes(Buffer.from("attached").toString("base64")),
  };
};
