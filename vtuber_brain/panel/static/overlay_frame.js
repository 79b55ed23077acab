// The overlay at the size of a scene, made small as a whole: in a small frame it would arrange itself otherwise.
const WIDTH = 1280, HEIGHT = 720;
export default {
  template: `<div class="overlay-fit" ref="box"><iframe :src="src" :title="title" :style="style"></iframe></div>`,
  props: { src: String, title: String },
  data() {
    return { scale: 0.25 };
  },
  computed: {
    style() {
      return { width: WIDTH + "px", height: HEIGHT + "px", border: 0, transformOrigin: "0 0", transform: `scale(${this.scale})` };
    },
  },
  mounted() {
    this.watching = new ResizeObserver(([box]) => (this.scale = box.contentRect.width / WIDTH));
    this.watching.observe(this.$refs.box);
  },
  unmounted() {
    this.watching.disconnect();
  },
};
