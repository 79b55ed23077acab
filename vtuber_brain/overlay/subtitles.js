// The words of the sentence that is heard, revealed in time with the voice, and the message she answers.
// What viewers wrote is only ever a text node.

const LINGER_MS = 1800;
const NEXT_MS = 6000; // how long the next sentence of a reply may take before what stands there is taken down
const QUIET = 6; // loudness of 100 under which nothing is being said

/** When each word begins, as a fraction of the sentence: words take the time of their letters where there is voice. */
export function wordTimes(words, open) {
  const spoken = open.map((value) => (value > QUIET ? 1 : 0));
  const total = spoken.reduce((sum, value) => sum + value, 0);
  const letters = words.reduce((sum, word) => sum + word.length, 0);
  let before = 0;
  return words.map((word) => {
    const share = letters ? before / letters : 0;
    before += word.length;
    return total ? reached(spoken, share * total) : share;
  });
}

function reached(spoken, wanted) {
  let sum = 0;
  const index = spoken.findIndex((value) => (sum += value) > wanted);
  return (index < 0 ? spoken.length : index) / spoken.length;
}

export class Subtitles {
  #line;
  #bubble;
  #words = [];
  #times = [];
  #shown = 0;
  #reply = null;
  #timer = 0;
  #enabled;

  constructor(line, bubble, { enabled }) {
    this.#line = line;
    this.#bubble = bubble;
    this.#enabled = enabled;
  }

  get text() {
    return this.#line.hidden ? "" : this.#line.textContent;
  }

  get revealed() {
    return this.#line.hidden ? "" : this.#words.slice(0, this.#shown).map((word) => word.textContent).join("").trim();
  }

  get answering() {
    return this.#bubble.hidden ? "" : this.#bubble.lastElementChild.textContent;
  }

  /** Puts up `sentence`, its words still unseen. Returns whether it answers a message that was not up before. */
  show(sentence) {
    clearTimeout(this.#timer);
    const texts = sentence.text.match(/\S+\s*/g) ?? [];
    this.#times = wordTimes(texts, sentence.mouth?.open ?? []);
    this.#words = texts.map((text) => Object.assign(document.createElement("span"), { textContent: text }));
    this.#shown = 0;
    this.#line.replaceChildren(...this.#words);
    this.#line.lang = sentence.lang ?? "";
    this.#line.dir = "auto";
    this.#line.hidden = !this.#enabled || !texts.length;
    return this.#answer(sentence);
  }

  #answer({ reply_id, in_reply_to: asked }) {
    const fresh = reply_id !== this.#reply;
    this.#reply = reply_id;
    if (!fresh) return false;
    const [name, text] = this.#bubble.children;
    name.textContent = asked?.author ?? "";
    text.textContent = asked?.text ?? "";
    this.#bubble.hidden = !this.#enabled || !asked?.text;
    return !this.#bubble.hidden;
  }

  /** Reveals the words that have begun when `fraction` (0 to 1) of the sentence is over. */
  reveal(fraction) {
    while (this.#shown < this.#words.length && this.#times[this.#shown] <= fraction) {
      this.#words[this.#shown++].classList.add("said");
    }
  }

  /** The sentence is over: it stays to be read a little; after a reply's last one the message goes as well. */
  finish(final) {
    this.reveal(1);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.clear(), final ? LINGER_MS : NEXT_MS);
  }

  clear() {
    clearTimeout(this.#timer);
    this.#line.hidden = this.#bubble.hidden = true;
    this.#line.replaceChildren();
    this.#words = [];
    this.#reply = null;
  }
}
