// The overlay page: what comes over the wire is played, shown and acknowledged. `window.overlay` measures it, read-only.

import { Avatar } from "./avatars/avatar.js";
import { Acting, REST_S } from "./acting.js";
import { Frames } from "./frames.js";
import { Player } from "./player.js";
import { Subtitles } from "./subtitles.js";
import { applyTheme } from "./theme.js";
import { Wire } from "./wire.js";

const asked = new URLSearchParams(location.search);
const inObs = asked.get("obs") === "1" || window.obsstudio !== undefined;
const stage = document.getElementById("stage");
const unlock = document.getElementById("unlock");
const side = ["left", "center"].includes(asked.get("side")) ? asked.get("side") : "right";
stage.dataset.side = side;

const subtitles = new Subtitles(document.getElementById("subtitle"), document.getElementById("bubble"), {
  enabled: asked.get("subtitles") !== "0",
});
const acting = new Acting(side);
const avatar = new Avatar(document.getElementById("avatar"));
let rate = 24000;
let sounding = null;
let wire = null; // the player speaks before there is one

const player = new Player(
  {
    started({ sentence }, at) {
      acknowledge(sentence, "started", at, 0);
      acting.speak(sentence, subtitles.show(sentence));
      frames.wake();
    },
    ended({ sentence, started }, state, at, position_ms) {
      acknowledge(sentence, state, at, position_ms);
      if (!started) return;
      if (state === "finished") subtitles.finish(sentence.final);
      else subtitles.clear();
      acting.hush(sentence.final || state === "skipped");
    },
    audio(now) {
      unlock.hidden = inObs || asked.get("muted") === "1" || now;
      if (now === sounding) return;
      sounding = now;
      ready();
    },
  },
  { silent: asked.get("muted") === "1" },
);

wire = new Wire(address(), {
  hello(frame) {
    rate = frame.sample_rate ?? rate;
    document.title = frame.display_name ?? "Overlay";
    document.documentElement.lang = frame.lang ?? "";
    applyTheme(asked.get("theme"), frame.theme);
    acting.state = frame.muted ? "muted" : "online";
    stage.dataset.state = acting.state;
    avatar.become(frame.avatar ?? { kind: "drawn" }, frame.persona);
    ready();
  },
  sentence: (frame, samples) => player.add(frame, samples, rate),
  cue(frame) {
    acting.cue(frame);
    frames.wake();
  },
  skip: (frame) => player.skip(frame.reply_id),
  stop: () => silence(),
  status(frame) {
    acting.state = stage.dataset.state = frame.state;
    if (frame.persona !== undefined) avatar.belong(frame.persona);
  },
  closed() {
    stage.dataset.state = "connecting";
    acting.state = "offline";
    silence();
  },
});

function address() {
  const url = new URL("/overlay/ws", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  const token = asked.get("token");
  if (token) url.searchParams.set("token", token);
  return url;
}

function acknowledge({ reply_id, seq }, state, at, position_ms) {
  wire.send({ type: "playback", reply_id, seq, state, at, position_ms });
}

function ready() {
  wire?.send({ type: "ready", audio: player.sounding });
}

function silence() {
  player.stop();
  subtitles.clear();
  acting.hush(true);
}

unlock.addEventListener("click", () => player.unlock());
addEventListener("pointerdown", () => player.unlock());

const frames = new Frames((dt) => {
  player.tick();
  const item = player.current;
  const at_s = item ? player.now() - item.start : 0;
  if (item) subtitles.reveal(at_s / item.length_s);
  avatar.frame(acting.pose(at_s, item?.sentence, dt));
  return acting.lively(item !== null) || avatar.busy;
}, REST_S);

const measured = {
  mouth: () => acting.open,
  shape: () => acting.shape,
  level: () => player.level(),
  samplesPlayed: () => player.samplesPlayed,
  queued: () => player.queued,
  audio: () => player.sounding,
  speaking: () => player.current !== null,
  subtitle: () => subtitles.text,
  revealed: () => subtitles.revealed,
  answering: () => subtitles.answering,
  state: () => stage.dataset.state,
  connected: () => wire.connected,
  avatar: () => avatar.kind,
  avatarMouth: () => avatar.mouth,
  problem: () => avatar.problem,
  expression: () => acting.expression,
  pictures: () => acting.pictures,
};
const getters = Object.fromEntries(Object.entries(measured).map(([name, get]) => [name, { get, enumerable: true }]));
Object.defineProperty(window, "overlay", { value: Object.freeze(Object.defineProperties({}, getters)) });
