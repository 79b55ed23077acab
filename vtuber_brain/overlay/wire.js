// The line to the voice's server: JSON frames, each sentence followed by its sound; reconnects for ever.

const FIRST_RETRY_MS = 250;
const LONGEST_RETRY_MS = 8000;

export class Wire {
  #url;
  #heard;
  #socket = null;
  #retryMs = FIRST_RETRY_MS;
  #awaiting = null;
  #timer = 0;

  /** `heard` has one method per kind of frame (`sentence(frame, samples)`), and `closed()`. */
  constructor(url, heard) {
    this.#url = url;
    this.#heard = heard;
    this.#open();
  }

  get connected() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** Sends one frame; what cannot be sent now is gone: after a reconnection nobody waits for it. */
  send(frame) {
    if (this.connected) this.#socket.send(JSON.stringify(frame));
  }

  #open() {
    const socket = new WebSocket(this.#url);
    socket.binaryType = "arraybuffer";
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onclose = () => this.#closed(socket);
    this.#socket = socket;
  }

  #closed(socket) {
    if (socket !== this.#socket) return;
    this.#awaiting = null;
    this.#heard.closed();
    clearTimeout(this.#timer);
    // Jitter keeps the pages of one scene from knocking all at once.
    this.#timer = setTimeout(() => this.#open(), this.#retryMs * (0.75 + Math.random() / 2));
    this.#retryMs = Math.min(this.#retryMs * 2, LONGEST_RETRY_MS);
  }

  #receive(data) {
    if (data instanceof ArrayBuffer) return this.#sound(data);
    let frame;
    try {
      frame = JSON.parse(data);
    } catch {
      return console.warn("a frame that is not JSON");
    }
    if (frame.type === "hello") this.#retryMs = FIRST_RETRY_MS;
    if (frame.type === "ping") return this.send({ type: "pong", t: frame.t });
    if (frame.type === "sentence") this.#awaiting = frame;
    else if (KINDS.has(frame.type)) this.#heard[frame.type](frame);
  }

  #sound(data) {
    const frame = this.#awaiting;
    this.#awaiting = null;
    if (data.byteLength < 4 || frame?.audio_id !== new DataView(data).getUint32(0, true)) {
      return console.warn("sound without its sentence");
    }
    this.#heard.sentence(frame, new Int16Array(data, 4, (data.byteLength - 4) >> 1));
  }
}

const KINDS = new Set(["hello", "cue", "skip", "stop", "status"]);
