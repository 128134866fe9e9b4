// Drawing of the points without WebGL, pixel by pixel: for browsers without a graphics card. Interface as Scatter.

export class Raster {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
  }

  setPoints(points) {
    this.points = points;
  }

  setColours(colours) {
    this.colours = new Uint32Array(colours.buffer, colours.byteOffset, colours.byteLength / 4);
  }

  draw(view, { size, above, aboveSize }) {
    const { width, height } = this.canvas;
    if (!this.points || !this.colours || !width || !height) return;
    const image = this.context.createImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer);
    const stamp = (p, side) => {
      const x = (((this.points[2 * p] / 65535) * view[0] + view[2] + 1) / 2) * width;
      const y = ((1 - ((this.points[2 * p + 1] / 65535) * view[1] + view[3])) / 2) * height;
      const left = Math.round(x - side / 2);
      const top = Math.round(y - side / 2);
      if (left + side < 0 || top + side < 0 || left > width || top > height) return;
      for (let row = Math.max(0, top); row < Math.min(height, top + side); row += 1) {
        for (let column = Math.max(0, left); column < Math.min(width, left + side); column += 1) {
          pixels[row * width + column] = this.colours[p];
        }
      }
    };
    const side = Math.max(1, Math.round(size * 0.8));
    for (let p = 0; p < this.points.length / 2; p += 1) stamp(p, side);
    for (const p of above) stamp(p, Math.round(aboveSize));
    this.context.putImageData(image, 0, 0);
  }
}
