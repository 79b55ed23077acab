// A line chart: one line a series over the same moments; a moment without a value leaves a gap, lone ones are dots.
const WIDTH = 400, HEIGHT = 150, LEFT = 38, BOTTOM = 18;
export default {
  template: `
    <figure class="lines">
      <figcaption>{{ title }}</figcaption>
      <svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" :aria-label="title">
        <g v-for="tick in ticks" class="grid">
          <line x1="${LEFT}" x2="${WIDTH}" :y1="y(tick)" :y2="y(tick)" /><text x="${LEFT - 5}" :y="y(tick) + 4">{{ tick }}</text>
        </g>
        <text class="span" x="${LEFT}" y="${HEIGHT - 3}">{{ span }}</text>
        <g v-for="one in series" :class="'line line-' + one.name">
          <path :d="path(one.values)" />
          <circle v-for="dot in dots(one.values)" :cx="dot[0]" :cy="dot[1]" r="2.4" />
        </g>
      </svg>
      <div class="legend"><span v-for="one in series" :class="'line-' + one.name"><i></i>{{ one.label }}
        <b>{{ last(one.values) }}</b></span></div>
    </figure>`,
  props: { title: String, series: Array, at: Array },
  computed: {
    top() {
      const most = Math.max(1, ...this.series.flatMap((one) => one.values.filter((value) => value !== null)));
      const unit = 10 ** Math.floor(Math.log10(most));
      return [1, 2, 5, 10].map((step) => step * unit).find((step) => step >= most);
    },
    ticks() {
      return [0, this.top / 2, this.top];
    },
    span() {
      const clock = (at) => new Date(at * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
      return this.at.length ? clock(this.at[0]) + " – " + clock(this.at[this.at.length - 1]) : "";
    },
  },
  methods: {
    x(place) {
      return LEFT + ((WIDTH - LEFT - 6) * place) / Math.max(1, this.at.length - 1);
    },
    y(value) {
      return 8 + (HEIGHT - BOTTOM - 8) * (1 - value / this.top);
    },
    path(values) {
      let is_open = false;
      return values.map((value, place) => {
        if (value === null) { is_open = false; return ""; }
        const step = (is_open ? "L" : "M") + this.x(place).toFixed(1) + " " + this.y(value).toFixed(1);
        is_open = true;
        return step;
      }).join("");
    },
    dots(values) {
      const lone = (place) => values[place] !== null && (values[place - 1] ?? null) === null && (values[place + 1] ?? null) === null;
      return values.map((value, place) => (lone(place) ? [this.x(place), this.y(value)] : null)).filter(Boolean);
    },
    last(values) {
      const known = values.filter((value) => value !== null);
      return known.length ? Math.round(known[known.length - 1] * 10) / 10 : "–";
    },
  },
};
