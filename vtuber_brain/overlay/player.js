// Plays sentences one after another without a gap, and says when each was really heard.
//
// All times are seconds of one clock, `now()`: what reaches the ear at this moment. With sound it is the AudioContext's
// clock less the output's latency; silent (a muted page, or a browser that wants a click first) it is the page's own.
// It runs on smoothly when one gives way to the other.

const LEAD_S = 0.03;
const FADE_S = 0.012;
const MAX_QUEUED = 8;
const MAX_SKIPPED = 64;

export class Player {
  #told;
  #context;
  #master;
  #analyser;
  #window;
  #offset = 0;
  #latency = 0;
  #sounding = false;
  #items = [];
  #skipped = [];
  #samples = 0;
  #timer = 0;

  /** `told` hears started(item, at), ended(item, state, at, position_ms), audio(sounding). `silent`: never any sound. */
  constructor(told, { silent }) {
    this.#told = told;
    if (!silent) this.#build();
  }

  #build() {
    this.#context = new AudioContext({ latencyHint: "interactive" });
    this.#master = this.#context.createGain();
    this.#analyser = this.#context.createAnalyser();
    this.#analyser.fftSize = 1024;
    this.#window = new Float32Array(this.#analyser.fftSize);
    this.#master.connect(this.#analyser).connect(this.#context.destination);
    this.#context.onstatechange = () => this.#switched();
    this.#switched();
    this.#context.resume().catch(() => {}); // refused until a click: the state says so
  }

  get sounding() {
    return this.#sounding;
  }

  get locked() {
    return this.#context !== undefined && !this.#sounding;
  }

  /** To be called from a click: where a browser wants one, sound begins with it. */
  unlock() {
    this.#context?.resume();
  }

  now() {
    return this.#raw() + this.#offset;
  }

  /** The item that is heard now, or null. */
  get current() {
    const now = this.now();
    return this.#items.find((item) => item.start <= now && now < item.end) ?? null;
  }

  get queued() {
    return this.#items.length;
  }

  /** Samples of sentences that have been heard so far (0 for ever on a silent page). */
  get samplesPlayed() {
    const item = this.#sounding ? this.current : null;
    return this.#samples + (item ? Math.round((this.now() - item.start) * item.rate) : 0);
  }

  /** Loudness of what leaves for the speakers now: root mean square, 0 to 1. */
  level() {
    if (!this.#sounding) return 0;
    this.#analyser.getFloatTimeDomainData(this.#window);
    return Math.sqrt(this.#window.reduce((sum, value) => sum + value * value, 0) / this.#window.length);
  }

  /** Queues `sentence` with its PCM (Int16Array). Over 8 queued, or of a reply that was skipped: `skipped` at once. */
  add(sentence, pcm, rate) {
    const length_s = pcm.length ? pcm.length / rate : sentence.duration_ms / 1000;
    const item = { sentence, rate, length_s, buffer: this.#buffer(pcm, rate), source: null, started: false };
    if (this.#items.length >= MAX_QUEUED || this.#skipped.includes(sentence.reply_id)) {
      this.#told.ended(item, "skipped", Date.now() / 1000, 0);
      return;
    }
    if (!this.#items.length) this.#measureLatency();
    this.#place(item, this.#items.at(-1)?.end ?? 0);
    this.#items.push(item);
    this.tick();
  }

  /** Silences the reply at once and drops what is queued of it; what comes after it moves up. */
  skip(replyId) {
    this.#skipped = [...this.#skipped, replyId].slice(-MAX_SKIPPED);
    this.#drop((item) => item.sentence.reply_id === replyId);
  }

  /** Silence at once; everything is dropped. */
  stop() {
    this.#drop(() => true);
  }

  /** Tells what is due by now. Runs by itself; calling it with every picture makes it exact. */
  tick() {
    const now = this.now();
    const wall = Date.now() / 1000;
    for (const item of [...this.#items]) {
      if (!item.started && now >= item.start) {
        item.started = true;
        this.#told.started(item, wall - (now - item.start));
      }
      if (now >= item.end) this.#finish(item, wall - (now - item.end));
    }
    const next = Math.min(...this.#items.map((item) => (item.started ? item.end : item.start)));
    clearTimeout(this.#timer);
    if (next < Infinity) this.#timer = setTimeout(() => this.tick(), Math.max(1, (next - now) * 1000));
  }

  #finish(item, at) {
    this.#items = this.#items.filter((other) => other !== item);
    if (this.#sounding) this.#samples += item.buffer?.length ?? 0;
    this.#told.ended(item, "finished", at, Math.round(item.length_s * 1000));
  }

  #drop(chosen) {
    this.tick(); // what had ended by now was heard to its end
    const now = this.now();
    const gone = this.#items.filter(chosen);
    this.#items = this.#items.filter((item) => !gone.includes(item));
    for (const item of gone) {
      const heard_s = item.started ? now - item.start : 0;
      this.#silence(item);
      if (this.#sounding) this.#samples += Math.round(heard_s * item.rate);
      this.#told.ended(item, "skipped", Date.now() / 1000, Math.round(heard_s * 1000));
    }
    if (gone.length) this.#moveUp();
  }

  #moveUp() {
    let end = 0;
    for (const item of this.#items) {
      if (!item.started) {
        this.#silence(item);
        this.#place(item, end);
      }
      end = item.end;
    }
    this.tick();
  }

  #place(item, notBefore) {
    const soonest = (this.#sounding ? this.#context.currentTime + this.#offset : this.now()) + LEAD_S;
    item.start = Math.max(soonest, notBefore);
    item.end = item.start + item.length_s;
    if (this.#sounding) this.#sound(item);
  }

  #sound(item) {
    if (!item.buffer) return;
    const due = item.start - this.#offset;
    const late = this.#context.currentTime - due;
    item.gain = this.#context.createGain();
    item.source = this.#context.createBufferSource();
    item.source.buffer = item.buffer;
    item.source.connect(item.gain).connect(this.#master);
    if (late > 0) item.source.start(0, late);
    else item.source.start(due);
  }

  #silence(item) {
    if (!item.source) return;
    const now = this.#context.currentTime;
    item.gain.gain.setValueAtTime(1, now);
    item.gain.gain.linearRampToValueAtTime(0, now + FADE_S);
    item.source.stop(now + FADE_S);
    item.source = null;
  }

  #buffer(pcm, rate) {
    if (!this.#context || !pcm.length) return null;
    const buffer = this.#context.createBuffer(1, pcm.length, rate);
    buffer.copyToChannel(Float32Array.from(pcm, (value) => value / 32768), 0);
    return buffer;
  }

  #raw() {
    return this.#sounding ? this.#context.currentTime - this.#latency : performance.now() / 1000;
  }

  #measureLatency() {
    if (!this.#sounding) return;
    const now = this.now();
    this.#latency = this.#context.outputLatency || this.#context.baseLatency || 0;
    this.#offset = now - this.#raw();
  }

  #switched() {
    const sounding = this.#context.state === "running";
    if (sounding !== this.#sounding) {
      const now = this.now();
      this.#sounding = sounding;
      this.#offset = now - this.#raw();
      this.#measureLatency();
      for (const item of this.#items) {
        this.#silence(item);
        if (sounding) this.#sound(item);
      }
    }
    this.#told.audio(sounding);
  }
}
