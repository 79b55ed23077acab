// A PNGtuber: one picture at a time, chosen by whether she speaks, blinks, and what she feels.

import { Blinks } from "./motion.js";

const LOUD = 0.12;

/** The role whose picture is shown: cue before mood before none; talking before blinking before idle. */
export function chosen(files, { open, shut, cue, mood }) {
  const feelings = [cue?.name, mood].filter(Boolean);
  const candidates = open > LOUD ? [...feelings.map((name) => `${name}_talk`), "talk"] : [];
  if (shut && !candidates.length && !feelings.some((name) => files[name])) candidates.push("blink");
  if (open <= LOUD) candidates.push(...feelings);
  return [...candidates, "idle"].find((role) => files[role]);
}

export class PngAvatar {
  #pictures;
  #blinks = new Blinks();
  #files;
  #shown = "";
  mouth = 0;

  /** Loads every picture of `files` first, so that none flickers in later. Needs at least `idle`. */
  static async load(root, { files }) {
    if (!files.idle) throw new Error("the folder has no idle.png");
    const pictures = Object.entries(files).map(([role, address]) => {
      const picture = Object.assign(new Image(), { src: address, alt: "" });
      picture.dataset.role = role;
      return picture;
    });
    await Promise.all(pictures.map((picture) => picture.decode()));
    return new PngAvatar(root, files, pictures);
  }

  constructor(root, files, pictures) {
    this.root = root;
    this.#files = files;
    this.#pictures = pictures;
    root.classList.add("png");
    root.replaceChildren(...pictures);
  }

  dispose() {
    this.root.remove();
  }

  frame(pose) {
    const asleep = pose.state === "asleep" || pose.state === "offline";
    const shut = asleep || this.#blinks.step(pose.dt, false) < 0.5;
    const role = chosen(this.#files, { ...pose, shut });
    this.mouth = pose.open;
    if (role !== this.#shown) for (const picture of this.#pictures) picture.hidden = picture.dataset.role !== role;
    this.#shown = role;
    const hop = pose.calm ? 0 : Math.round(pose.level * 14);
    this.root.style.setProperty("--hop", `${-hop}px`);
  }
}
