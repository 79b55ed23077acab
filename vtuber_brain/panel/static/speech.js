// What she thinks, says and has said, the newest on top. All text is text.
export default {
  template: `
    <div class="speech" role="log" :aria-label="words.her">
      <div v-for="thought in unsaid" :key="thought.id" class="bubble" :class="thought.speaking ? 'saying' : 'thinking'">
        <div class="head"><span class="badge">{{ thought.speaking ? words.says : words.thinks }}</span>
          <span class="stage">{{ thought.stage }} · {{ thought.age.toFixed(1) }} s</span></div>
        <div class="asked"><b>{{ thought.author || words.on_her_own }}</b> {{ thought.text }}</div>
      </div>
      <div v-if="!replies.length && !unsaid.length" class="quiet">{{ words.quiet }}</div>
      <div v-for="(reply, place) in replies" :key="reply.id" class="bubble" :class="'is-' + reply.state">
        <div class="head">
          <span class="badge">{{ words[reply.state] }}</span>
          <span v-if="reply.reason" class="reason">{{ reply.reason }}</span>
          <span v-if="reply.timings.floor" class="stage">{{ time(reply.timings.floor) }}</span>
          <span class="grow"></span>
          <template v-if="may_rate && reply.asked && (reply.state === 'spoken' || reply.state === 'cut')">
            <button class="rate" :class="{on: reply.rating === 1}" :title="words.good" :aria-label="words.good"
              :data-key="place === rateable ? '+' : null" @click="$emit('rate', {id: reply.id, rating: reply.rating === 1 ? 0 : 1})">▲</button>
            <button class="rate bad" :class="{on: reply.rating === -1}" :title="words.bad" :aria-label="words.bad"
              :data-key="place === rateable ? '-' : null" @click="$emit('rate', {id: reply.id, rating: reply.rating === -1 ? 0 : -1})">▼</button>
            <button v-if="may_edit" class="rate" :title="words.correct" :aria-label="words.correct"
              :data-key="place === rateable ? 'e' : null" @click="$emit('edit', {id: reply.id})">✎</button>
          </template>
        </div>
        <div class="asked" v-if="reply.asked && reply.asked.text"><b>{{ reply.asked.author }}</b> {{ reply.asked.text }}</div>
        <div class="asked" v-else-if="!reply.asked && reply.state !== 'retracted'"><b>{{ reply.own ? words.operators_words : words.on_her_own }}</b></div>
        <div class="said">{{ reply.said.join(' ') }}</div>
        <div v-if="reply.edited" class="edited"><span class="badge">{{ words.corrected }}</span> {{ reply.edited }}</div>
      </div>
    </div>`,
  props: { words: Object, max: Number, may_rate: Boolean, may_edit: Boolean },
  data() {
    return { replies: [], thoughts: [] };
  },
  computed: {
    unsaid() {
      const said = new Set(this.replies.map((reply) => reply.id)); // heard of before the thought is told to be over
      return this.thoughts.filter((thought) => !said.has(thought.id));
    },
    rateable() {
      return this.replies.findIndex((reply) => reply.asked && (reply.state === "spoken" || reply.state === "cut"));
    },
  },
  methods: {
    add(changed) {
      for (const reply of changed) {
        const place = this.replies.findIndex((one) => one.id === reply.id);
        if (place < 0) this.replies.unshift(reply);
        else this.replies[place] = reply;
      }
      this.replies.length = Math.min(this.replies.length, this.max);
    },
    time: (ms) => (ms < 1000 ? Math.round(ms) + " ms" : (ms / 1000).toFixed(1) + " s"),
    think(thoughts) {
      this.thoughts = thoughts;
    },
  },
};
