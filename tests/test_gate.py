"""The output gate in the way of a message: fail closed, pause after refusals in a row, and what is left to a human."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.scripted import calm, message
from tests.test_pipeline import PERSONA, Brain, running, says
from vtuber_brain.errors import JudgeDown
from vtuber_brain.messages import Drop, Dropped, Judged, Mood, Retraction, Turn, Utterance
from vtuber_brain.roles import Role
from vtuber_brain.sections import ChoiceSettings, Filter

SAFE = {line.split("] ")[1] for line in PERSONA.safe_lines}


def toxic_where(word, share=0.9, elsewhere=0.01):
    async def ask(text):
        found = share if word in text else elsewhere
        return Mood("neutral", {"negative": 0.1, "neutral": 0.8, "positive": 0.1}, found)

    return ask


def spoken(brain):
    return [utterance.text for utterance in brain.out.of(Utterance)]


async def answered(brain, *texts):
    for number, text in enumerate(texts):
        await brain.pipeline.receive(message(text, author=f"v{number}"))
        await brain.out.until(lambda out, n=number: len(out.of(Turn)) > n)


async def test_a_refused_sentence_ends_the_reply_and_a_safe_line_takes_its_place():
    script = says("Good day to you.", " This is vile.", " And more.")
    async with running(Brain(script, toxic_where("vile"))) as brain:
        await answered(brain, "hello")
    (turn,) = brain.out.of(Turn)
    assert (turn.outcome, turn.reason) == ("cut", "toxic")
    assert spoken(brain)[0] == "Good day to you."
    assert "This is vile." not in spoken(brain)
    assert any(line.startswith(spoken(brain)[1]) for line in SAFE)


async def test_a_sentence_harmless_alone_is_refused_for_what_it_makes_of_the_one_before():
    async def ask(text):
        both = "one half" in text and "other half" in text
        return Mood("neutral", {"negative": 0.1, "neutral": 0.8, "positive": 0.1}, 0.9 if both else 0.01)

    async with running(Brain(says("Here is one half.", " Now the other half."), ask)) as brain:
        await answered(brain, "hello")
    assert spoken(brain)[0] == "Here is one half."
    assert "Now the other half." not in spoken(brain)


async def test_what_a_viewer_wrote_and_may_be_vile_is_not_said_back():
    heard = 'they wrote "grolk on the wozzle" on the wall'
    for toxicity, said in ((0.3, False), (0.05, True)):
        ask = toxic_where("wall", toxicity)
        async with running(Brain(says("They wrote: grolk on the wozzle."), ask)) as brain:
            await answered(brain, heard)
        assert ("They wrote: grolk on the wozzle." in spoken(brain)) is said
        assert brain.out.of(Turn)[0].reason == (None if said else "echo")


def num_ended(out):
    denied = [judged for judged in out.of(Judged) if judged.verdict.action == "deny"]
    return len(out.of(Turn)) + len(out.of(Dropped)) + len(denied)


async def ended(brain, *texts):
    """Send the texts one after the other, each when the one before has its fate."""
    for text in texts:
        before = num_ended(brain.out)
        await brain.pipeline.receive(message(text, author=text))
        await brain.out.until(lambda out, n=before: num_ended(out) > n)


FOUR = ("hello there", "do you like tea", "what is the time", "is it raining")


async def test_after_three_refusals_in_a_row_she_pauses_and_the_operator_is_told_and_can_end_it():
    async with running(Brain(says("So vile."), toxic_where("vile"))) as brain:
        await ended(brain, *FOUR)
        assert [turn.outcome for turn in brain.out.of(Turn)] == ["refused"] * 3
        assert brain.pauses == [(False, "3 refused sentences in a row: pausing for 60 s")]
        assert [dropped.reason for dropped in brain.out.of(Dropped)] == [Drop.PAUSED]
        brain.engine.script = says("All is well.")
        brain.pipeline.unmute()
        await ended(brain, "and now")
        assert brain.out.of(Turn)[-1].outcome == "spoken"
    assert brain.pauses[-1] == (True, "")


async def test_the_pause_ends_by_itself():
    async with running(Brain(says("So vile."), toxic_where("vile"), max_refusals=1, refusal_pause_s=0.05)) as brain:
        await ended(brain, "hello there")
        assert brain.pipeline._mouth.gate.paused
        async with asyncio.timeout(5):
            while brain.pipeline._mouth.gate.paused:
                await asyncio.sleep(0.01)
        brain.engine.script = says("All is well.")
        await ended(brain, "and now")
        assert brain.out.of(Turn)[-1].outcome == "spoken"
    assert brain.pauses[-1] == (True, "")


async def test_a_sentence_that_passes_begins_the_count_anew_and_a_silent_judge_is_not_counted():
    async with running(Brain(lambda request: replies.pop(0), toxic_where("vile"))) as brain:
        replies = [["So vile."], ["So vile."], ["All is well."], ["So vile."], ["So vile."]]
        await ended(brain, *FOUR, "and now")
        assert brain.pauses == []

    async def down(_text):
        raise JudgeDown("gone")

    async with running(Brain(says("All is well."), down)) as brain:
        await ended(brain, *FOUR, "and now")
        assert brain.pauses == []
        assert spoken(brain) == []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fates=st.lists(st.sampled_from(["calm", "toxic", "late", "down", "broken"]), min_size=1, max_size=12))
def test_whatever_becomes_of_the_judge_nothing_unscreened_is_published(fates):
    screened, asked = set(), iter(fates)

    async def ask(text):
        fate = next(asked, "calm")
        if fate == "late":
            await asyncio.Event().wait()
        if fate in ("down", "broken"):
            raise JudgeDown("gone") if fate == "down" else ValueError("garbage")
        if fate == "calm":
            screened.add(text)
        return Mood("neutral", {"negative": 0, "neutral": 1, "positive": 0}, 0.95 if fate == "toxic" else 0.01)

    async def live():
        script = says("One thing.", " Another thing.", " A third thing.")
        brain = Brain(script, ask, sentiment={"speak_timeout_s": 0.02, "timeout_s": 0.02, "sample_share": 0})
        async with running(brain):
            await ended(brain, *FOUR)
        return spoken(brain)

    for text in asyncio.run(live()):
        assert text in screened, f"{text!r} was spoken unscreened"


HOLD_LINKS = Filter(hold={"links"}, hold_threshold=0.4, roles={"moderator": 0.9})


class TestHeld:
    async def test_what_the_persona_holds_waits_for_a_human_and_is_answered_when_let_pass(self):
        async with running(Brain(says("A fine page."), policy=HOLD_LINKS)) as brain:
            await brain.pipeline.receive(message("look at https://cats.example", number="m1"))
            await brain.out.until(lambda out: out.of(Judged))
            (held,) = brain.pipeline.door.held()
            assert (held.verdict.action, held.verdict.reasons) == ("hold", ("links",))
            assert not brain.pipeline.door.allow("unknown")
            assert brain.pipeline.door.allow("m1")
            await brain.out.until(lambda out: out.of(Turn))
        assert brain.out.of(Turn)[0].outcome == "spoken"
        assert brain.out.of(Judged)[-1].verdict.reasons == ("operator",)
        assert brain.pipeline.door.held() == []

    async def test_one_that_was_chosen_already_is_not_folded_into_itself_when_let_pass(self):
        ask, choice = toxic_where("vile", 0.5), ChoiceSettings()
        async with running(Brain(says("Hm."), ask, policy=HOLD_LINKS, choice=choice)) as brain:
            await brain.pipeline.receive(message("is this game a bit vile", number="m1"))
            await brain.out.until(lambda out: out.of(Judged))
            assert brain.pipeline.door.allow("m1")
            await brain.out.until(lambda out: out.of(Turn) or out.of(Dropped))
        assert [turn.outcome for turn in brain.out.of(Turn)] == ["spoken"]

    async def test_one_that_is_denied_gets_a_verdict_that_says_who_did(self):
        async with running(Brain(says("x"), policy=HOLD_LINKS)) as brain:
            await brain.pipeline.receive(message("look at https://cats.example", number="m1"))
            await brain.out.until(lambda out: out.of(Judged))
            assert await brain.pipeline.door.deny("m1")
            assert not await brain.pipeline.door.deny("m1")
        last = brain.out.of(Judged)[-1].verdict
        assert (last.action, last.reasons) == ("deny", ("links", "operator"))

    async def test_doubtful_words_are_held_and_of_those_who_may_say_more_only_the_worst_denied(self):
        cases = [
            ("a bit vile", 0.5, (), "hold"),
            ("very vile", 0.8, (), "deny"),
            ("vile again", 0.8, ("moderator",), "allow"),
        ]
        for text, share, roles, action in cases:
            async with running(Brain(says("Hm."), toxic_where("vile", share), policy=HOLD_LINKS)) as brain:
                one = message(text)
                await brain.pipeline.receive(replace(one, author=replace(one.author, roles=roles)))
                await brain.out.until(lambda out: out.of(Judged))
            assert brain.out.of(Judged)[0].verdict.action == action, text

    async def test_a_held_message_that_is_taken_back_or_forgotten_ends_with_its_reason(self):
        brain = Brain(says("x"), policy=HOLD_LINKS, sentiment={"hold_s": 0.05})
        async with running(brain):
            for number in ("a", "b"):
                await brain.pipeline.receive(message(f"https://{number}.example", author=number, number=number))
            await brain.pipeline.receive(Retraction("websocket", "message", "a", 9e9))
            async with asyncio.timeout(5):
                while brain.pipeline.door.held():
                    await asyncio.sleep(0.01)
            await brain.out.until(lambda out: len(out.of(Dropped)) == 2)
        reasons = {dropped.message.id: dropped.reason for dropped in brain.out.of(Dropped)}
        assert reasons == {"a": Drop.RETRACTED, "b": Drop.HELD}


@pytest.mark.parametrize(("answer", "action"), [("never", "deny"), ("gently", "allow"), ("always", "allow")])
async def test_a_persona_may_leave_unfriendly_messages_alone(answer, action):
    async def sour(_text):
        return Mood("negative", {"negative": 0.9, "neutral": 0.1, "positive": 0.0}, 0.01)

    async with running(Brain(says("Oh dear."), sour, policy=Filter(answer_negative=answer))) as brain:
        await brain.pipeline.receive(message("this is no fun at all"))
        await brain.out.until(lambda out: out.of(Judged))
    verdict = brain.out.of(Judged)[0].verdict
    assert (verdict.action, verdict.reasons) == (action, ("negative",) if action == "deny" else ())


async def test_words_cut_over_two_messages_are_found_at_the_door():
    async with running(Brain(says("Hm."))) as brain:
        await brain.pipeline.receive(message("my number is 0812", author="a", number=1))
        await brain.pipeline.receive(message("3456 7890", author="b", number=2))
        await brain.pipeline.receive(message("3456 7890", author="a", number=3))
        await brain.out.until(lambda out: len(out.of(Judged)) == 3)
    verdicts = {judged.message.id: judged.verdict.reasons for judged in brain.out.of(Judged)}
    assert verdicts["3"] == ("personal_data",)
    assert verdicts["1"] == verdicts["2"] == ()


async def test_the_cue_of_a_reply_without_one_follows_the_mood_of_the_message():
    async def happy(_text):
        return Mood("positive", {"negative": 0.0, "neutral": 0.1, "positive": 0.9}, 0.01)

    cues = PERSONA.cues.model_copy(update={"moods": {"positive": "laugh"}})
    for ask, cue in ((happy, "laugh"), (calm, PERSONA.cues.default)):
        brain = Brain(says("Yes."), ask)
        async with running(brain):
            brain.cast.on_stage = Role(PERSONA.model_copy(update={"cues": cues}))
            await answered(brain, "I passed my exam")
        assert brain.out.of(Utterance)[0].cue.name == cue


async def test_she_is_told_of_a_sad_viewer_unless_her_persona_takes_everybody_alike():
    async def sour(_text):
        return Mood("negative", {"negative": 0.9, "neutral": 0.1, "positive": 0.0}, 0.01)

    told = {}
    for answer in ("gently", "always"):
        brain = Brain(says("Oh dear."), sour)
        async with running(brain):
            brain.cast.on_stage = Role(PERSONA.model_copy(update={"filter": Filter(answer_negative=answer)}))
            await answered(brain, "this is no fun at all")
        told[answer] = "sounds unhappy" in brain.engine.requests[0].messages[-1]["content"]
    assert told == {"gently": True, "always": False}
