// The chat: rows as the board has them, the newest at the bottom. All text is text: nothing here makes HTML of it.
export default {
  template: `
    <div class="chat-list">
      <div class="chat-rows" ref="box" @scroll="scrolled" role="log" :aria-label="words.chat">
        <slot v-if="!rows.length" />
        <div v-for="row in rows" :key="row.key" class="chat-row" :class="['fate-' + row.fate, {gone: row.gone}]">
          <span class="mood" :class="'mood-' + (row.mood || 'none')" :title="row.mood ? words['mood_' + row.mood] : ''"></span>
          <div class="chat-what">
            <span class="who">{{ row.author || '…' }}</span>
            <span v-if="row.kind !== 'chat'" class="kind">{{ row.kind }}{{ row.amount ? ' ' + row.amount : '' }}</span>
            <span v-if="row.gone" class="text gone">{{ words.taken_back }}</span>
            <span v-else class="text">{{ row.text }}</span>
          </div>
          <div class="chat-fate">
            <span class="age">{{ age(row) }}</span>
            <span class="fate">{{ words['fate_' + row.fate] }}</span>
            <span v-for="reason in row.reasons" class="reason">{{ reason }}</span>
          </div>
        </div>
      </div>
      <button v-if="!pinned" class="to-latest" @click="toLatest">↓ {{ words.to_latest }}</button>
    </div>`,
  props: { words: Object, max: Number, server_now: Number },
  data() {
    return { rows: [], pinned: true, now: this.server_now, skew: this.server_now - Date.now() / 1000 };
  },
  mounted() {
    this.timer = setInterval(() => (this.now = Date.now() / 1000 + this.skew), 1000);
  },
  unmounted() {
    clearInterval(this.timer);
  },
  methods: {
    add(changed) {
      const places = new Map(this.rows.map((row, place) => [row.key, place]));
      const fresh = [];
      for (const row of changed) {
        const place = places.get(row.key);
        if (place === undefined) fresh.push(row);
        else this.rows[place] = row;
      }
      if (fresh.length) this.rows = [...this.rows, ...fresh].slice(-this.max);
      this.now = Date.now() / 1000 + this.skew;
      if (this.pinned) this.$nextTick(this.toLatest);
    },
    age(row) {
      const s = Math.max(0, Math.round(this.now - row.at));
      if (!row.at) return "";
      return s < 60 ? s + " s" : s < 3600 ? Math.floor(s / 60) + " min" : Math.floor(s / 3600) + " h";
    },
    scrolled() {
      const box = this.$refs.box;
      this.pinned = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
    },
    toLatest() {
      const box = this.$refs.box;
      if (box) box.scrollTop = box.scrollHeight;
      this.pinned = true;
    },
  },
};
