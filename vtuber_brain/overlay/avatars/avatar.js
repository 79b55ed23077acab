// Which avatar she wears: the drawn one, a PNGtuber's pictures or a VRM model. One that cannot be loaded is replaced by
// the drawn one and the reason kept, so that a stream never shows an empty stage.

import { DrawnAvatar } from "./drawn.js";
import { PngAvatar } from "./png.js";

const KINDS = {
  drawn: (root, wish) => DrawnAvatar.load(root, wish),
  png: (root, wish) => PngAvatar.load(root, wish),
  vrm: async (root, wish) => (await import("../vrm.bundle.js")).VrmAvatar.load(root, wish),
};

export class Avatar {
  #root;
  #worn = null;
  #wish = "";
  #files;
  kind = "";
  problem = "";

  constructor(root) {
    this.#root = root;
  }

  get mouth() {
    return this.#worn?.mouth ?? 0;
  }

  /** Whether something in her face is moving fast just now. */
  get busy() {
    return this.#worn?.busy ?? false;
  }

  /** Puts on `kind` with its `files` (role to address); the same one again is left as it is. */
  async become({ kind, files }, persona) {
    const wish = JSON.stringify([kind, files, persona]);
    if (wish === this.#wish) return;
    this.#wish = wish;
    this.#files = { kind, files };
    this.problem = "";
    let worn = kind;
    let next;
    try {
      next = await KINDS[kind](document.createElement("div"), { files: files ?? {}, persona });
    } catch (error) {
      console.warn(`the ${kind} avatar: ${error.message}`);
      this.problem = error.message;
      worn = "drawn";
      next = await DrawnAvatar.load(document.createElement("div"), { persona });
    }
    if (wish !== this.#wish) return next.dispose(); // another was asked for meanwhile
    this.#worn?.dispose();
    this.#worn = next;
    this.kind = worn;
    this.#root.replaceChildren(next.root);
  }

  /** Another persona on the same stage. */
  belong(persona) {
    if (this.#files) this.become(this.#files, persona);
  }

  frame(pose) {
    this.#worn?.frame(pose);
  }
}
