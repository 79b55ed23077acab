// How living things move: a spring, blinks at irregular times, eyes that are never quite still.

export class Spring {
  #at = 0;
  #speed = 0;
  constructor(stiffness, damping) {
    this.stiffness = stiffness;
    this.damping = damping;
  }

  /** Where it is after `dt` seconds of being pulled to `goal`. */
  step(goal, dt) {
    for (let left = Math.min(dt, 0.1); left > 0; left -= 1 / 120) {
      const step = Math.min(left, 1 / 120); // small steps: a long pause must not make it explode
      this.#speed += ((goal - this.#at) * this.stiffness - this.#speed * this.damping) * step;
      this.#at += this.#speed * step;
    }
    return this.#at;
  }
}

const BLINK_S = 0.17;

export class Blinks {
  #until = 1.5;
  #phase = 1;

  get busy() {
    return this.#phase < 1;
  }

  /** How far the lids are up (0 to 1) after `dt` seconds. Every 2 to 6.5 seconds, now and then twice. */
  step(dt, asleep) {
    if (asleep) return 1;
    this.#phase += dt / BLINK_S;
    this.#until -= dt;
    if (this.#until <= 0) {
      this.#phase = 0;
      this.#until = Math.random() < 0.15 ? 0.28 : 2 + Math.random() * 4.5;
    }
    if (this.#phase >= 1) return 1;
    return this.#phase < 0.35 ? 1 - this.#phase / 0.35 : (this.#phase - 0.35) / 0.65;
  }
}

export class Gaze {
  #x = 0;
  #y = 0;
  #goal = [0, 0];
  #until = 2;

  /** Where the eyes look, -1 to 1: at the viewer with small darts, to the message (up and aside) while `reading`. */
  step({ dt, reading, side, calm }) {
    this.#until -= dt;
    if (this.#until <= 0) {
      const away = Math.random() < 0.25 ? 0.45 : 0.12;
      this.#goal = calm ? [0, 0] : [(Math.random() * 2 - 1) * away, (Math.random() * 2 - 1) * away * 0.6];
      this.#until = 0.6 + Math.random() * 2.6;
    }
    const [x, y] = reading > 0 ? [side * 0.95, -0.25 + 0.1 * Math.sin(this.#until * 9)] : this.#goal;
    const step = 1 - Math.exp(-22 * dt);
    this.#x += (x - this.#x) * step;
    this.#y += (y - this.#y) * step;
    return { x: this.#x, y: this.#y };
  }
}
