// A VRM model of the user's own, drawn by three.js. The source of vrm.bundle.js: docs/overlay.md says how that is built.

import {
  AmbientLight, Box3, DirectionalLight, Object3D, PerspectiveCamera, Scene, Vector3, WebGLRenderer,
} from "three";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";
import { VRMLoaderPlugin, VRMUtils } from "@pixiv/three-vrm";
import { approach, REST, wanted } from "./avatars/expressions.js";
import { Blinks, Gaze, Spring } from "./avatars/motion.js";

const VOWELS = { a: "aa", e: "ee", i: "ih", o: "oh", u: "ou", _: "aa" };
const MOUTHS = ["aa", "ee", "ih", "oh", "ou"];
const FACES = {
  happy: (face) => Math.max(0, (face.curve - 0.5) * 1.6),
  sad: (face) => Math.max(0, face.browTilt) * 0.9,
  angry: (face) => Math.max(0, -face.browTilt) * 0.8,
  surprised: (face) => face.wide,
};

export class VrmAvatar {
  #vrm;
  #renderer;
  #scene = new Scene();
  #camera = new PerspectiveCamera(24, 1, 0.1, 50);
  #eyesAt = new Object3D();
  #face = { ...REST, fx: "" };
  #blinks = new Blinks();
  #gaze = new Gaze();
  #turn = new Spring(26, 8);
  #tilt = new Spring(40, 9);
  #resized;
  #vowels = Object.fromEntries(MOUTHS.map((name) => [name, 0]));

  /** Loads `files.model`. Throws when there is no WebGL here or the file is no VRM. */
  static async load(root, { files }) {
    const renderer = new WebGLRenderer({ alpha: true, antialias: true });
    const loader = new GLTFLoader();
    loader.register((parser) => new VRMLoaderPlugin(parser));
    const { userData } = await loader.loadAsync(files.model);
    if (!userData.vrm) throw new Error("the file is no VRM model");
    return new VrmAvatar(root, renderer, userData.vrm);
  }

  constructor(root, renderer, vrm) {
    this.root = root;
    this.#renderer = renderer;
    this.#vrm = vrm;
    root.classList.add("vrm");
    root.replaceChildren(renderer.domElement);
    VRMUtils.rotateVRM0(vrm);
    const sun = new DirectionalLight(0xffffff, Math.PI * 0.8);
    sun.position.set(0.6, 1.2, 1.5);
    this.#scene.add(vrm.scene, sun, new AmbientLight(0xffffff, 0.9), this.#eyesAt);
    if (vrm.lookAt) vrm.lookAt.target = this.#eyesAt;
    this.#frameBust();
    this.#resized = new ResizeObserver(() => this.#resize());
    this.#resized.observe(root);
  }

  /** How far the model's own mouth expressions are moved now, 0 to 1. */
  get mouth() {
    return Math.max(...MOUTHS.map((name) => this.#vrm.expressionManager?.getValue(name) ?? 0));
  }

  get busy() {
    return true; // hair and cloth hang on springs: they want every picture
  }

  dispose() {
    this.#resized.disconnect();
    VRMUtils.deepDispose(this.#vrm.scene);
    this.#renderer.dispose();
    this.root.remove();
  }

  frame(pose) {
    approach(this.#face, wanted(pose), pose.dt);
    this.#express(pose);
    this.#move(pose);
    this.#vrm.update(pose.dt);
    this.#renderer.render(this.#scene, this.#camera);
  }

  #express(pose) {
    const expressions = this.#vrm.expressionManager;
    if (!expressions) return;
    const step = 1 - Math.exp(-40 * pose.dt);
    for (const name of MOUTHS) {
      const goal = VOWELS[pose.shape] === name ? pose.open : 0;
      this.#vowels[name] += (goal - this.#vowels[name]) * step;
      expressions.setValue(name, this.#vowels[name]);
    }
    for (const [name, of] of Object.entries(FACES)) expressions.setValue(name, Math.min(1, of(this.#face)));
    const lids = this.#blinks.step(pose.dt, false) * Math.min(1, this.#face.lid);
    expressions.setValue("blink", 1 - Math.max(0, lids));
  }

  #move(pose) {
    const { t, dt } = pose;
    const still = pose.calm ? 0 : 1;
    const bone = (name) => this.#vrm.humanoid?.getNormalizedBoneNode(name);
    const turn = this.#turn.step((Math.sin(t * 0.61) * 0.1 + Math.sin(t * 2.1) * pose.level * 0.12) * still, dt);
    const tilt = this.#tilt.step((-this.#face.tilt / 60 + Math.sin(t * 0.47) * 0.03) * still, dt);
    bone("head")?.rotation.set(-this.#face.gazeY * 0.1 + pose.level * 0.05 * still, turn, tilt);
    bone("chest")?.rotation.set(Math.sin(t * 1.75) * 0.012 * still, turn * 0.3, 0);
    bone("leftUpperArm")?.rotation.set(0, 0, -1.25);
    bone("rightUpperArm")?.rotation.set(0, 0, 1.25 - this.#face.handR * 2.2);
    const gaze = this.#gaze.step(pose);
    this.#eyesAt.position.copy(this.#camera.position).add(new Vector3(gaze.x * 0.8, -gaze.y * 0.6, 0));
  }

  #frameBust() {
    this.#vrm.scene.updateMatrixWorld(true);
    const head = this.#vrm.humanoid?.getRawBoneNode("head")?.getWorldPosition(new Vector3());
    const box = new Box3().setFromObject(this.#vrm.scene);
    const y = head?.y ?? box.max.y * 0.9;
    const height = Math.max(0.3, (box.max.y - y) * 2 + 0.35);
    this.#camera.position.set(0, y, height / (2 * Math.tan((this.#camera.fov * Math.PI) / 360)));
    this.#camera.lookAt(0, y, 0);
  }

  #resize() {
    const { clientWidth: width, clientHeight: height } = this.root;
    if (!width || !height) return;
    this.#renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
    this.#renderer.setSize(width, height, false);
    this.#camera.aspect = width / height;
    this.#camera.updateProjectionMatrix();
  }
}
