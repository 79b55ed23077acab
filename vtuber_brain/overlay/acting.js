// What she does at each moment: the mouth from the sentence that is heard, mood, cue, and where she looks.

const READ_S = 1.3;
const CUE_MS = 2500;
export const REST_S = 1 / 8; // drawn on threes, as animators say: at rest nothing moves faster than a few pixels a second
const clock = () => performance.now() / 1000;

/** How far the mouth stands open (0 to 1) and in which vowel, `at_s` into a sentence; between two steps, in between. */
export function mouthAt(mouth, at_s) {
  if (!mouth?.open?.length || at_s < 0) return { open: 0, shape: "_" };
  const place = (at_s * 1000) / mouth.step_ms;
  const index = Math.floor(place);
  if (index >= mouth.open.length) return { open: 0, shape: "_" };
  const here = mouth.open[index];
  const next = mouth.open[index + 1] ?? 0;
  return { open: (here + (next - here) * (place - index)) / 100, shape: mouth.shape?.[index] ?? "_" };
}

export class Acting {
  state = "connecting";
  open = 0;
  shape = "_";
  pictures = 0;
  #mood = null;
  #cue = null;
  #readUntil = 0;
  #level = 0;
  #moved = 0;
  #side;
  #calm = matchMedia("(prefers-reduced-motion: reduce)");

  constructor(side) {
    this.#side = side === "left" ? 1 : -1; // the message stands beside her, towards the middle
  }

  get expression() {
    return this.#currentCue()?.name ?? this.#mood ?? "";
  }

  /** A sentence begins; `reads` when a message came up with it, at which she glances first. */
  speak(sentence, reads) {
    this.#mood = sentence.mood ?? null;
    if (sentence.cue) this.cue(sentence.cue);
    if (reads) this.#readUntil = clock() + READ_S;
  }

  cue({ name, intensity, for_ms }) {
    const lasts = (for_ms || CUE_MS) / 1000;
    this.#cue = { name, intensity: Math.max(0, Math.min(1, intensity ?? 1)), until: clock() + lasts };
  }

  /** The voice is silent; when the reply is `over` its mood goes too. */
  hush(over) {
    if (over) this.#mood = null;
  }

  #currentCue() {
    if (this.#cue && clock() > this.#cue.until) this.#cue = null;
    return this.#cue;
  }

  /** Whether anything goes on that wants every picture of the screen. */
  lively(speaking) {
    return speaking || this.#level > 0.02 || this.#currentCue() !== null || clock() < this.#readUntil;
  }

  /** All that an avatar needs for one picture, `at_s` into `sentence` (undefined: nobody speaks). */
  pose(at_s, sentence, dt) {
    this.pictures += 1;
    const { open, shape } = mouthAt(sentence?.mouth, at_s);
    this.open = open;
    this.shape = shape;
    const now = clock();
    const moved = this.lively(sentence !== undefined) || now - this.#moved > REST_S * 0.9;
    const moved_s = moved ? Math.min(now - this.#moved, 0.25) : 0;
    if (moved) this.#moved = now;
    this.#level += (open - this.#level) * (1 - Math.exp(-7 * dt));
    return {
      t: this.#moved, dt: Math.min(dt, 0.25), moved_s, open, shape, level: this.#level, mood: this.#mood, cue: this.#currentCue(),
      state: this.state, reading: clock() < this.#readUntil ? 1 : 0, side: this.#side, calm: this.#calm.matches,
    };
  }
}
