// What each mood and cue looks like: a few numbers a face is made of, and the thing that appears beside it.
//
// browY up, browTilt inner ends up (worried) or down (cross), lid 1 open to 0 shut, smile closes the eyes upwards, wide
// larger eyes, curve of the mouth -1 to 1, gape how far it stands open without a word, blush 0 to 1, tilt degrees,
// bounce 0 to 1, gazeX and gazeY -1 to 1, handR and handL 0 down to 1 raised, swing of the hand.

export const REST = Object.freeze({
  browY: 0, browTilt: 0, lid: 1, smile: 0, wide: 0, curve: 0.5, gape: 0, blush: 0.4, tilt: 0, bounce: 0,
  gazeX: 0, gazeY: 0, handR: 0, handL: 0, swing: 0, puff: 0, wink: 0, narrow: 0, salute: 0,
});

const NUMBERS = Object.keys(REST);
const HAPPY = { browY: 0.35, smile: 0.25, curve: 0.9, blush: 0.75 };
const SAD = { browY: -0.1, browTilt: 0.9, lid: 0.72, curve: -0.55, gazeY: 0.35, tilt: -4, blush: 0.3 };

const MOODS = {
  positive: { ...HAPPY, blush: 0.6 },
  negative: { browTilt: 0.55, lid: 0.88, curve: 0.05, gazeY: 0.1, tilt: -2.5 },
  neutral: {},
};

const CUES = {
  smile: { ...HAPPY, tilt: 3 },
  laugh: { ...HAPPY, smile: 1, curve: 1, gape: 0.55, bounce: 1, blush: 1, fx: "sparkle" },
  think: { browY: 0.3, browTilt: 0.25, gazeX: 0.75, gazeY: -0.75, curve: 0.05, tilt: 6, lid: 0.85, fx: "dots" },
  sad: { ...SAD, fx: "tear" },
  surprised: { browY: 1, wide: 1, lid: 1.1, gape: 0.8, curve: -0.2, narrow: 1, fx: "bang" },
  wave: { ...HAPPY, handR: 1, swing: 1, tilt: 4, gape: 0.2 },
  beep: { browY: 0.4, curve: 0.8, bounce: 0.35, fx: "note" },
  cheer: { ...HAPPY, smile: 0.9, curve: 1, gape: 0.6, bounce: 1, handR: 1, handL: 1, swing: 0.5, fx: "sparkle" },
  spark: { browY: 0.2, browTilt: -0.6, curve: 0.9, gape: 0.15, wide: 0.35, blush: 0.5, fx: "bolts" },
  scan: { browY: 0.15, browTilt: -0.3, lid: 0.6, curve: 0.1, gazeX: 0.8, tilt: 3, fx: "dots" },
  sulk: { browTilt: -0.8, lid: 0.62, curve: -0.5, puff: 1, gazeX: -0.6, gazeY: 0.25, tilt: -5, blush: 0.9, fx: "puff" },
  salute: { browY: 0.3, browTilt: -0.3, curve: 0.7, handR: 1, salute: 1, tilt: -2, fx: "sparkle" },
  wink: { ...HAPPY, wink: 1, tilt: 5, fx: "sparkle" },
  angry: { browTilt: -1, browY: -0.3, lid: 0.8, curve: -0.6, fx: "puff" },
  shy: { browTilt: 0.5, lid: 0.8, curve: 0.3, blush: 1, gazeX: -0.6, gazeY: 0.5, tilt: -6 },
  nod: { ...HAPPY, bounce: 0.6 },
  sleepy: { browY: -0.2, browTilt: 0.3, lid: 0.3, curve: 0.1, tilt: -6, fx: "zzz" },
};

const STATES = {
  asleep: { lid: 0, tilt: -7, curve: 0.25, browY: -0.2, fx: "zzz" },
  offline: { lid: 0, tilt: -7, curve: 0.25, browY: -0.2, fx: "zzz" },
  muted: { curve: 0.15, lid: 0.9, fx: "hush" },
};

/** The face wanted now: rest, the brain's state, the mood, and the cue upon them as strongly as it is meant. */
export function wanted({ state, mood, cue }) {
  const face = { ...REST, fx: "", ...STATES[state] };
  const layers = [[MOODS[mood], 1], [cue && (CUES[cue.name] ?? HAPPY), cue ? 0.4 + 0.6 * cue.intensity : 0]];
  for (const [layer, strength] of layers) {
    for (const [key, value] of Object.entries(layer ?? {})) {
      face[key] = key === "fx" ? value : face[key] + (value - face[key]) * strength;
    }
  }
  return face;
}

/**
 * Moves every number of `face` towards `goal`; `rate` per second, so that it looks the same at any frame rate. Returns
 * how far the farthest one is away still.
 */
export function approach(face, goal, dt_s, rate = 11) {
  const step = 1 - Math.exp(-rate * dt_s);
  for (const key of NUMBERS) face[key] += (goal[key] - face[key]) * step;
  face.fx = goal.fx;
  return Math.max(...NUMBERS.map((key) => Math.abs(goal[key] - face[key])));
}

/** Width, height and roundness of a mouth saying each vowel with all its might. */
export const VOWELS = Object.freeze({
  a: { width: 1, height: 1, round: 0.35 },
  e: { width: 1.12, height: 0.62, round: 0.3 },
  i: { width: 1.25, height: 0.4, round: 0.2 },
  o: { width: 0.72, height: 0.9, round: 0.95 },
  u: { width: 0.52, height: 0.55, round: 1 },
  _: { width: 0.85, height: 0.45, round: 0.5 },
});
