// When pictures are drawn: each one of the screen while something goes on, a few a second at rest.

export class Frames {
  #draw;
  #rest_s;
  #resting = 0;
  #previous = performance.now();

  /** `draw(dt)` draws one picture, `dt` seconds after the last, and returns whether something goes on. */
  constructor(draw, rest_s) {
    this.#draw = draw;
    this.#rest_s = rest_s;
    requestAnimationFrame(() => this.#picture());
  }

  /** Something begins: no more resting. */
  wake() {
    if (!this.#resting) return;
    clearTimeout(this.#resting);
    this.#resting = 0;
    requestAnimationFrame(() => this.#picture());
  }

  #picture() {
    const now = performance.now();
    const dt = (now - this.#previous) / 1000;
    this.#previous = now;
    this.#resting = 0;
    if (this.#draw(dt)) requestAnimationFrame(() => this.#picture());
    else this.#resting = setTimeout(() => this.#picture(), this.#rest_s * 1000);
  }
}
