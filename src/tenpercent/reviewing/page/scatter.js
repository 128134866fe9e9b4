// Drawing of a million points by WebGL2.
//
// Own code, and short: the maintained libraries for this compile their shaders' callers from text with `new Function`, which
// the policy of this page forbids.

const VERTEX = `#version 300 es
in vec2 place; in vec4 colour;
uniform vec4 view; uniform float size; uniform float alpha;
out vec4 ink;
void main() {
  gl_Position = vec4(place * view.xy + view.zw, 0.0, 1.0);
  gl_PointSize = size;
  ink = vec4(colour.rgb, colour.a * alpha);
}`;
const FRAGMENT = `#version 300 es
precision highp float;
in vec4 ink; uniform float size; out vec4 shown;
void main() {
  float far = length(gl_PointCoord - 0.5) * size;
  float cover = size < 3.0 ? 1.0 : clamp(size * 0.5 - far + 0.5, 0.0, 1.0);
  if (cover == 0.0) discard;
  shown = vec4(ink.rgb, 1.0) * ink.a * cover;
}`;

/** The drawing on a canvas; throws where there is no WebGL2. */
export class Scatter {
  constructor(canvas) {
    const gl = canvas.getContext("webgl2", { antialias: false, premultipliedAlpha: true });
    if (!gl) throw new Error("no WebGL2");
    this.canvas = canvas;
    this.gl = gl;
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => {
      this.#prepare();
      if (this.points) this.setPoints(this.points);
      if (this.colours) this.setColours(this.colours);
      this.onrestored?.();
    });
    this.#prepare();
  }

  #prepare() {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) throw new Error(gl.getProgramInfoLog(program));
    gl.useProgram(program);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.uniforms = Object.fromEntries(["view", "size", "alpha"].map((name) => [name, gl.getUniformLocation(program, name)]));
    this.places = this.#buffer(program, "place", 2, gl.UNSIGNED_SHORT);
    this.inks = this.#buffer(program, "colour", 4, gl.UNSIGNED_BYTE);
    this.chosen = gl.createBuffer();
    this.largest = gl.getParameter(gl.ALIASED_POINT_SIZE_RANGE)?.[1] ?? 1;
  }

  #buffer(program, name, width, kind) {
    const { gl } = this;
    const buffer = gl.createBuffer();
    const at = gl.getAttribLocation(program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.enableVertexAttribArray(at);
    gl.vertexAttribPointer(at, width, kind, true, 0, 0);
    return buffer;
  }

  /** Take the points: uint16 x, y, one after the other. */
  setPoints(points) {
    this.points = points;
    this.gl.bindBuffer(this.gl.ARRAY_BUFFER, this.places);
    this.gl.bufferData(this.gl.ARRAY_BUFFER, points, this.gl.STATIC_DRAW);
  }

  /** Take their colours: four bytes a point. */
  setColours(colours) {
    this.colours = colours;
    this.gl.bindBuffer(this.gl.ARRAY_BUFFER, this.inks);
    this.gl.bufferData(this.gl.ARRAY_BUFFER, colours, this.gl.DYNAMIC_DRAW);
  }

  /** Draw all points, then those of `above` once more, larger. `view` is [scale x, scale y, shift x, shift y]. */
  draw(view, { size, alpha, above, aboveSize }) {
    const { gl } = this;
    if (!this.points || !this.colours || gl.isContextLost()) return;
    gl.viewport(0, 0, this.canvas.width, this.canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.uniform4fv(this.uniforms.view, view);
    gl.uniform1f(this.uniforms.size, Math.min(size, this.largest));
    gl.uniform1f(this.uniforms.alpha, alpha);
    gl.drawArrays(gl.POINTS, 0, this.points.length / 2);
    if (!above.length) return;
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.chosen);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, above, gl.DYNAMIC_DRAW);
    gl.uniform1f(this.uniforms.size, Math.min(aboveSize, this.largest));
    gl.uniform1f(this.uniforms.alpha, 1);
    gl.drawElements(gl.POINTS, above.length, gl.UNSIGNED_INT, 0);
  }
}
