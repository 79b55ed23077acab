// The messages that wait for a human; one is chosen, and the keys of its buttons are those of the page.
export default {
  template: `
    <div class="held-list">
      <div v-for="(one, place) in held" :key="one.source + ' ' + one.id" class="held-row" :class="{chosen: place === at}"
        @click="chosen = key(one)">
        <div class="asked"><b>{{ one.author }}</b> {{ one.text }}</div>
        <div class="held-foot">
          <span v-for="reason in one.reasons" class="reason">{{ reason }}</span>
          <span class="age">{{ Math.round(one.age_s) }} s</span><span class="grow"></span>
          <button class="decide allow" :data-key="place === at ? 'a' : null" @click.stop="decide(one, true)">{{ words.allow }}</button>
          <button class="decide deny" :data-key="place === at ? 'd' : null" @click.stop="decide(one, false)">{{ words.deny }}</button>
        </div>
      </div>
      <button hidden data-key="j" @click="move(1)"></button><button hidden data-key="k" @click="move(-1)"></button>
    </div>`,
  props: { words: Object, held: Array },
  data() {
    return { chosen: null };
  },
  computed: {
    at() {
      const place = this.held.findIndex((one) => this.key(one) === this.chosen);
      return place < 0 ? 0 : place;
    },
  },
  methods: {
    key: (one) => one.source + " " + one.id,
    move(by) {
      const one = this.held[Math.min(Math.max(this.at + by, 0), this.held.length - 1)];
      if (one) this.chosen = this.key(one);
    },
    decide(one, allow) {
      this.move(1);
      this.$emit("decide", { id: one.id, source: one.source, allow });
    },
  },
};
