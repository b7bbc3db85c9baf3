// pdf-lib: draws a page and reads the document back
// => {"head":"%PDF-","pages":1,"title":"Invoice"}
import { PDFDocument, StandardFonts } from "pdf-lib";

export const handler = async () => {
  const document = await PDFDocument.create();
  document.setTitle("Invoice");
  const font = await document.embedFont(StandardFonts.Helvetica);
  document.addPage([200, 100]).drawText("Hello", { x: 10, y: 50, font, size: 12 });
  const bytes = await document.save();
  const again = await PDFDocument.load(bytes);
  return { head: Buffer.from(bytes.slice(0, 5)).toString(), pages: again.getPageCount(), title: again.getTitle() };
};
