// The avatar drawn by us: an SVG whose parts are moved by a few springs and the face that is wanted.

import { VOWELS, REST, approach, wanted } from "./expressions.js";
import { Blinks, Gaze, Spring } from "./motion.js";

const LOOKS = new Set(["mori", "bolt"]);
const PARTS = [
  "whole", "head-rims", "back", "body", "head", "features", "hair-front", "lockL", "lockR", "sideL", "sideR", "ahoge", "zig", "key", "clip",
  "eye-clipL", "eye-clipR", "irisL", "irisR", "lid-shadeL", "lid-shadeR", "lashL", "lashR", "lower-lashL",
  "lower-lashR", "creaseL", "creaseR", "glintL", "glintR", "blush", "mouth", "mouth-hole", "mouth-clip", "mouth-line",
  "tongue", "teeth", "tear", "browL", "browR", "handR", "handL", "motes", "bulb-glow",
];

export class DrawnAvatar {
  #parts = {};
  #last = {};
  #effects = new Map();
  #face = { ...REST, fx: "" };
  #mouth = { open: 0, width: 0.85, height: 0.5, round: 0.5 };
  #away = 0;
  #blinks = new Blinks();
  #gaze = new Gaze();
  #turn = new Spring(26, 8);
  #tilt = new Spring(40, 9);
  #bob = new Spring(90, 10);
  #sway = new Spring(34, 4.5);

  /** Draws into `root`. `persona` chooses the palette and belongings; an unknown one looks like Mori. */
  static async load(root, { persona }) {
    const answer = await fetch(new URL("drawn.svg", import.meta.url));
    if (!answer.ok) throw new Error(`the drawing: HTTP ${answer.status}`);
    const drawing = new DOMParser().parseFromString(await answer.text(), "image/svg+xml").documentElement;
    return new DrawnAvatar(root, document.importNode(drawing, true), persona);
  }

  constructor(root, drawing, persona) {
    this.root = root;
    root.classList.add("drawn");
    root.dataset.look = LOOKS.has(persona) ? persona : "mori";
    root.replaceChildren(drawing);
    for (const id of PARTS) this.#parts[id] = drawing.querySelector(`[id="${id}"]`);
    for (const group of drawing.querySelectorAll(".fx")) {
      this.#effects.set([...group.classList].find((name) => name.startsWith("fx-")).slice(3), group);
    }
  }

  /** How far the drawn mouth is open, 0 to 1. */
  get mouth() {
    return this.#mouth.open;
  }

  get busy() {
    return this.#blinks.busy || this.#away > 0.04 || this.#mouth.open > 0.03;
  }

  dispose() {
    this.root.remove();
  }

  /** One picture. `pose`: t and dt in seconds, open 0..1 and shape of the mouth, level, mood, cue, state, reading, calm. */
  frame(pose) {
    this.#away = approach(this.#face, wanted(pose), pose.dt);
    if (pose.moved_s) this.#pose(pose, this.#face);
    this.#eyes(pose, this.#face);
    this.#say(pose, this.#face);
    this.#show(this.#face);
  }

  #pose(pose, face) {
    const { t, moved_s: dt, calm } = pose;
    const still = calm ? 0 : 1;
    const talk = Math.min(1, pose.level * 1.6) * still;
    const idle = still * (Math.sin(t * 0.61) * 0.6 + Math.sin(t * 1.07 + 1) * 0.4);
    const read = pose.reading * still;
    const turn = this.#turn.step(idle * 0.35 + Math.sin(t * 2.1) * talk * 0.55 - read * 0.9 + face.gazeX * 0.35, dt);
    const tilt = this.#tilt.step((face.tilt + idle * 1.6 + Math.sin(t * 2.7 + 2) * talk * 3) * (calm ? 0.4 : 1), dt);
    const hop = face.bounce * still * Math.abs(Math.sin(t * 8.5)) * 9;
    const bob = this.#bob.step(-talk * 4 - hop, dt);
    const breath = Math.sin(t * 1.75) * (calm ? 0.4 : 1);
    const lag = this.#sway.step(turn * 5 + tilt * 0.8, dt);
    const swing = lag - (turn * 5 + tilt * 0.8);
    const nod = face.gazeY * 3 + bob + breath * 1.6;
    const move = (id, x, y, angle = 0, cx = 320, cy = 430) =>
      this.#set(id, "transform", `translate(${n(x)} ${n(y)}) rotate(${n(angle)} ${cx} ${cy})`);
    move("whole", 0, hop ? bob * 0.5 : 0, tilt * 0.12, 320, 760);
    this.#set("body", "transform", `translate(320 760) scale(${n(1 + breath * 0.003)} ${n(1 + breath * 0.0075)}) translate(-320 -760)`);
    move("head", turn * 3, nod, tilt, 320, 436);
    move("head-rims", turn * 9, nod + face.gazeY * 2, tilt, 320, 436);
    move("back", turn * -3, nod * 0.7, tilt * 0.8 + swing * 0.5, 320, 300);
    move("features", turn * 11, face.gazeY * 5 - face.browY * 0.6);
    move("hair-front", turn * 6, face.gazeY * 2);
    for (const [id, x, side] of [["lockL", 190, 1], ["lockR", 450, 1], ["sideL", 188, 0.8], ["sideR", 452, 0.8]]) {
      move(id, turn * -3, 0, swing * 0.75 * side + Math.sin(t * 1.2 + x) * 0.5 * still, x, 190);
    }
    move("ahoge", 0, 0, swing * 2.4 + Math.sin(t * 1.6) * 3 * still + face.wide * 6, 320, 92);
    move("zig", 0, 0, swing * 1.6 + Math.sin(t * 1.6) * 2 * still + face.wide * 5, 320, 92);
    this.#set("key", "transform", `translate(446 204) rotate(${n(swing * 4 + Math.sin(t * 1.9) * 4 * still - tilt)})`);
    this.#hand("handR", face.handR, face.salute, face.swing * still, t, 1);
    this.#hand("handL", face.handL, 0, face.swing * still, t + 0.4, -1);
    this.#drift(t, still);
  }

  #hand(id, raised, salute, swing, t, side) {
    const shown = raised > 0.02;
    this.#set(id, "visibility", shown ? "visible" : "hidden");
    if (!shown) return;
    const angle = side * ((1 - raised) * -26 + Math.sin(t * 9) * swing * 11 * raised) + salute * 13;
    const x = side * -14 * (1 - raised) - salute * 32;
    const y = (1 - raised) * 270 - 70 - salute * 206;
    this.#set(id, "transform", `translate(${n(x)} ${n(y)}) rotate(${n(angle)} ${side > 0 ? 110 : 530} 780)`);
  }

  #drift(t, still) {
    const motes = this.#parts.motes.children;
    [[96, 300, 0.5, 0], [556, 250, 0.41, 2], [70, 470, 0.63, 4]].forEach(([x, y, speed, phase], index) => {
      const dx = Math.sin(t * speed + phase) * 14 * still;
      const dy = Math.cos(t * speed * 1.3 + phase) * 22 * still;
      this.#put(motes[index], `mote${index}`, "transform", `translate(${n(x + dx)} ${n(y + dy)})`);
    });
    this.#set("bulb-glow", "opacity", n(0.55 + 0.45 * Math.sin(t * 3) * still));
  }

  #eyes(pose, face) {
    const blink = this.#blinks.step(pose.dt, pose.state === "asleep");
    const gaze = this.#gaze.step(pose);
    const x = Math.max(-1, Math.min(1, gaze.x + face.gazeX)) * 10;
    const y = Math.max(-1, Math.min(1, gaze.y + face.gazeY)) * 8;
    for (const [side, mirror, wink] of [["L", 1, 0], ["R", -1, face.wink]]) {
      const smile = Math.max(face.smile, wink);
      const lid = Math.max(0, Math.min(1.12, face.lid + face.wide * 0.06 - face.smile * 0.22)) * blink * (1 - wink);
      this.#eye(side, mirror, smile > 0.6 ? Math.min(lid, (1 - smile) * 2.2) : lid, smile);
      const size = 1 - face.wide * 0.16;
      this.#set(`iris${side}`, "transform", `translate(${n(x)} ${n(y + (1 - lid) * 4)}) scale(${n(size)})`);
      this.#set(`glint${side}`, "transform", `translate(${n(x * 0.7)} ${n(y * 0.7)})`);
    }
    this.#brow("browL", 252, 1, face);
    this.#brow("browR", 388, -1, face);
    this.#set("blush", "opacity", n(face.blush));
    this.#set("tear", "opacity", face.fx === "tear" ? "1" : "0");
  }

  #eye(side, mirror, lid, smile) {
    const shut = 1 - Math.min(1, lid);
    const arc = shut * smile; // shut in a smile the lids meet in an arch, else in a bow
    const upper = mix(mix(-56, 30, shut) - (lid > 1 ? (lid - 1) * 60 : 0), -26, arc);
    const lower = mix(mix(44, 33, shut), -18, arc) - (1 - shut) * smile * 14;
    const outer = mix(mix(2, 12, shut), 16, arc);
    const inner = mix(mix(10, 12, shut), 15, arc);
    const m = (x) => n(x * mirror);
    const eye = `M${m(-37)} ${n(outer)}C${m(-33)} ${n(upper)} ${m(20)} ${n(upper + 2)} ${m(33)} ${n(inner)}C${m(26)} ${n(lower)} ${m(-28)} ${n(lower + 2)} ${m(-37)} ${n(outer)}Z`;
    const thick = mix(13, 8, shut);
    const wing = mix(-9, 3, shut) + arc * 3;
    this.#set(`eye-clip${side}`, "d", eye);
    this.#set(`lash${side}`, "d",
      `M${m(-47)} ${n(outer + wing - 3)}C${m(-40)} ${n(outer + wing - 4)} ${m(-40)} ${n(outer - 6)} ${m(-38)} ${n(outer - 8)}` +
      `C${m(-31)} ${n(upper - thick)} ${m(22)} ${n(upper - thick + 3)} ${m(35)} ${n(inner + 1)}` +
      `C${m(20)} ${n(upper + 3)} ${m(-32)} ${n(upper + 1)} ${m(-35)} ${n(outer + 5)}` +
      `C${m(-38)} ${n(outer + 3)} ${m(-42)} ${n(outer + wing + 3)} ${m(-47)} ${n(outer + wing - 3)}Z`);
    this.#set(`lid-shade${side}`, "d",
      `M${m(-50)} ${n(outer)}C${m(-33)} ${n(upper)} ${m(20)} ${n(upper)} ${m(40)} ${n(inner)}C${m(20)} ${n(upper + 16)} ${m(-33)} ${n(upper + 16)} ${m(-50)} ${n(outer + 12)}Z`);
    this.#set(`lower-lash${side}`, "d", shut > 0.85 ? "" :
      `M${m(-26)} ${n(outer + (lower - outer) * 0.58)}C${m(-12)} ${n(lower * 0.86)} ${m(8)} ${n(lower * 0.86)} ${m(20)} ${n(inner + (lower - inner) * 0.54)}`);
    this.#set(`crease${side}`, "d", `M${m(-30)} ${n(mix(-32, -8, shut) - arc * 14)}C${m(-18)} ${n(mix(-56, -20, shut) - arc * 14)} ${m(8)} ${n(mix(-58, -20, shut) - arc * 14)} ${m(24)} ${n(mix(-40, -10, shut) - arc * 14)}`);
  }

  #brow(id, x, mirror, face) {
    const y = 252 - face.browY * 13 + Math.abs(face.browTilt) * 3;
    const m = (dx) => n(x + dx * mirror);
    const inner = -face.browTilt * 11;
    this.#set(id, "d", `M${m(-32)} ${n(y + 6 - inner * 0.5)}C${m(-16)} ${n(y - 7 - inner * 0.2)} ${m(8)} ${n(y - 7 + inner * 0.5)} ${m(27)} ${n(y + inner)}`);
  }

  #say(pose, face) {
    const vowel = VOWELS[pose.shape] ?? VOWELS._;
    const mouth = this.#mouth;
    const fast = 1 - Math.exp(-34 * pose.dt);
    for (const key of ["width", "height", "round"]) mouth[key] += (vowel[key] - mouth[key]) * fast;
    mouth.open += (pose.open - mouth.open) * (1 - Math.exp(-48 * pose.dt));
    const talk = mouth.open;
    const gape = Math.max(face.gape * (1 - talk * 0.6), 0);
    const height = Math.max(talk * (0.35 + 0.65 * mouth.height), gape * 0.75);
    const shaped = Math.min(1, talk * 3);
    const width = mix(17 + Math.max(0, face.curve) * 6 + gape * 6, 24 * mouth.width, shaped) * (1 - (face.puff * 0.35 + face.narrow * 0.45) * (1 - shaped));
    const round = mix(mix(0.35, 1, face.narrow), mouth.round, shaped);
    this.#lips(width, height * 36, round, face.curve * mix(9, 5, shaped));
  }

  #lips(w, h, round, curve) {
    const k = mix(0.52, 0.98, round); // how far the corners stand out: a bowl, or a ring
    const top = curve * 0.9 - h * mix(0.1, 0.62, round);
    const low = curve * 0.9 + h * mix(1.32, 0.72, round);
    const corner = -curve * 0.45;
    const upper = `M${n(-w)} ${n(corner)}C${n(-w * k)} ${n(top)} ${n(w * k)} ${n(top)} ${n(w)} ${n(corner)}`;
    const whole = `${upper}C${n(w * k)} ${n(low)} ${n(-w * k)} ${n(low)} ${n(-w)} ${n(corner)}Z`;
    const open = h > 1.2;
    this.#set("mouth-hole", "d", open ? whole : "");
    this.#set("mouth-clip", "d", open ? whole : "");
    this.#set("mouth-line", "d", open ? whole : upper);
    this.#set("teeth", "d", open && h > 8 && round < 0.7 ? `M${n(-w)} ${n(top - 12)}H${n(w)}V${n(mix(corner, top, 0.75) + Math.min(5.5, h * 0.2))}H${n(-w)}Z` : "");
    this.#set("tongue", "transform", `translate(0 ${n(mix(corner, low, 0.75) + 8)})`);
  }

  #show(face) {
    for (const [name, group] of this.#effects) group.classList.toggle("on", name === face.fx);
  }

  #set(id, name, value) {
    this.#put(this.#parts[id], id, name, value);
  }

  #put(element, id, name, value) {
    const key = `${id} ${name}`;
    if (this.#last[key] === value) return; // what did not change is not painted again
    this.#last[key] = value;
    element.setAttribute(name, value);
  }
}

const n = (value) => Math.round(value * 10) / 10;
const mix = (from, to, share) => from + (to - from) * share;
