// sharp: makes an image
// => error "Could not load the \"sharp\" module using the linux-x64 runtime"
import sharp from "sharp";

export const handler = async () => (await sharp({ create: { width: 1, height: 1, channels: 3, background: "red" } }).png().toBuffer()).length;
