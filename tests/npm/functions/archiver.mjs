// archiver, jszip: packs a zip as a stream and unpacks it
// => {"files":["a.txt","dir/b.txt"],"a":"hello"}
import { ZipArchive } from "archiver";
import JSZip from "jszip";
import { buffer } from "node:stream/consumers";

export const handler = async () => {
  const archive = new ZipArchive({ zlib: { level: 9 } });
  archive.append("hello", { name: "a.txt" });
  archive.append(Buffer.from("b"), { name: "dir/b.txt" });
  archive.finalize();
  const zip = await JSZip.loadAsync(await buffer(archive));
  return { files: Object.keys(zip.files).filter((name) => !name.endsWith("/")), a: await zip.file("a.txt").async("string") };
};
