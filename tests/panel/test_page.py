"""The panel in a browser: what an operator sees and does, with keys and without, alone and beside another."""

import pytest
from aiohttp import web
from playwright.async_api import expect

from tests.panel.brain import SENTENCES
from vtuber_brain.context.personas import load_persona
from vtuber_brain.night_sections import CurateSettings
from vtuber_brain.panel.board import MAX_ROWS
from vtuber_brain.retrain.curate import curate
from vtuber_brain.retrain.replayed import replay
from vtuber_brain.sections import MemorySettings
from vtuber_brain.transcripts.past import streams

pytestmark = pytest.mark.asyncio(loop_scope="module")


def row(page, text):
    return page.locator(".chat-row", has_text=text)


def bubble(page, text):
    return page.locator(".her .bubble", has_text=text)


async def heap(page):
    """What the page's scripts still need, in MB."""
    debugger = await page.context.new_cdp_session(page)
    await debugger.send("HeapProfiler.collectGarbage")
    return (await debugger.send("Runtime.getHeapUsage"))["usedSize"] / 1e6


async def test_an_empty_panel_says_what_to_do_first_and_where_the_pages_are(show, page):
    await show.enter(page)
    await expect(page.locator(".empty li")).to_have_count(4)
    await expect(page.locator(".empty")).to_contain_text(f"http://127.0.0.1:{show.voice_port}/overlay")
    assert page.url == f"{show.url}/", "the token is not in the address"


async def test_what_is_typed_as_a_viewer_goes_the_way_of_any_message_and_is_answered(show, page):
    await show.enter(page)
    await page.keyboard.press("/")
    await page.keyboard.type("Is it raining over there?")
    await page.keyboard.press("Enter")
    await expect(row(page, "Is it raining over there?")).to_contain_text("passed")
    answer = bubble(page, "Is it raining over there?")
    await expect(answer).to_contain_text("nine umbrellas")
    await expect(answer.locator(".head .badge")).to_have_text("said")
    assert ("owner", "chat", "ok") in show.audited()


async def test_what_a_viewer_writes_is_shown_as_text_and_never_becomes_part_of_the_page(show, page):
    await show.enter(page)
    evil = "<img src=x onerror=alert(1)>**b** {{ 7*7 }} </script><b>x"
    await show.do("chat", text=evil, author="<i>eve</i>")
    await expect(row(page, "onerror").locator(".text")).to_have_text(evil)
    assert await page.locator(".chat-row img, .chat-row i, .bubble img, .bubble i").count() == 0


async def test_a_denied_message_shows_why_and_one_that_is_taken_back_is_gone(show, page):
    await show.enter(page)
    await show.do("chat", text="visit https://spam.invalid today", author="shop")
    await expect(row(page, "spam.invalid").locator(".reason")).to_have_text("links")
    await show.do("chat", text="do not look at this please", author="kim")
    await expect(row(page, "do not look at this")).to_be_visible()
    await expect(bubble(page, "do not look at this").locator(".head .badge")).to_have_text("said")
    await show.do("retract_last")
    await expect(row(page, "do not look at this")).to_have_count(0)
    await expect(page.locator(".chat-row", has_text="taken back")).to_be_visible()
    await expect(bubble(page, "do not look at this")).to_have_count(0)
    await expect(page.locator(".bubble.is-retracted")).to_be_visible()


async def test_mute_silences_at_once_though_the_engine_hangs(show, page):
    await show.enter(page)
    await show.do("chat", text="hang on to this", author="omar")
    await expect(page.locator(".bubble.thinking", has_text="hang on to this")).to_be_visible()
    await page.keyboard.press("m")
    await expect(page.locator(".chip")).to_have_text("muted")
    assert (await show.do("state"))["muted"]
    await expect(page.locator(".bubble.thinking")).to_have_count(0)
    await page.keyboard.press("Space")
    await expect(page.locator(".chip")).to_have_text("on air")


async def test_a_running_reply_is_skipped_by_key_and_marked_cut(show, page):
    await show.enter(page)
    await show.do("chat", text="a long story please", author="liv")
    running = bubble(page, "a long story please")
    await expect(running).to_contain_text("The first sentence is out.")
    await page.keyboard.press("s")
    await expect(running.locator(".head .badge")).to_have_text("cut")


async def test_two_operators_see_the_same_and_one_decides_about_what_is_held(show, page, second):
    await show.enter(page)
    await show.enter(second, "moderator")
    await show.do("hold", text="Would you call this one harmless?", author="bram")
    await show.do("hold", text="And this one?", author="kees")
    for one in (page, second):
        await expect(one.locator(".badge-held")).to_have_text("2")
        await one.keyboard.press("1")
        await expect(one.locator(".held-row")).to_have_count(2)
    await page.keyboard.press("a")
    await expect(second.locator(".held-row")).to_have_count(1)
    await expect(bubble(second, "call this one harmless")).to_contain_text("nine umbrellas")
    await second.keyboard.press("d")
    await expect(page.locator(".held-row")).to_have_count(0)
    await expect(row(page, "And this one?")).to_contain_text("denied")
    assert {("owner", "allow", "ok"), ("moderator", "deny", "ok")} <= set(show.audited())


async def test_a_viewers_token_shows_all_and_mutes_nothing(show, page):
    await show.enter(page, "viewer")
    await page.keyboard.press("m")
    await expect(page.locator(".q-notification")).to_contain_text("Your role may not do that")
    await page.keyboard.press("t")
    await page.keyboard.type("Hello.")
    await page.keyboard.press("Enter")
    await expect(page.locator(".q-notification")).to_have_count(2)
    assert not (await show.do("state"))["muted"]
    assert {("viewer", "mute", "forbidden"), ("viewer", "say", "forbidden")} <= set(show.audited())


async def test_what_she_should_have_said_stands_in_the_rows_of_the_next_night(show, page, second):
    await show.enter(page)
    await show.enter(second, "moderator")
    await show.do("chat", text="What do you count at night?", author="nadia")
    said = bubble(page, "What do you count at night?")
    await expect(said.locator(".head .badge")).to_have_text("said")
    await page.keyboard.press("+")
    await expect(bubble(second, "What do you count").locator(".rate.on")).to_have_count(1)
    await page.keyboard.press("e")
    field = page.locator(".asking textarea")
    await expect(field).to_have_value("".join(SENTENCES))
    await field.fill("I count the lights of the ferries.")
    await page.get_by_role("button", name="Keep").click()
    await expect(bubble(second, "What do you count").locator(".edited")).to_contain_text("lights of the ferries")
    await expect(field).to_have_count(0)
    await page.keyboard.press("3")
    await page.get_by_role("checkbox").click()
    await expect(page.locator(".tab-panels .edited")).to_contain_text("lights of the ferries")
    replayed = [
        replay(stream, load_persona("mori"), MemorySettings()) for stream in streams(show.state / "transcripts.db")
    ]
    learnt = curate(replayed, 1000, CurateSettings(min_cap=1000, burst=1000)).examples
    assert "I count the lights of the ferries." in {one.content for row in learnt for one in row.messages}


async def test_last_nights_report_stands_in_a_frame_that_can_do_nothing(show, page):
    folder = show.state / "retrain" / "mori" / "2026-05-01"
    folder.mkdir(parents=True)
    (folder / "report-0011223344556677.html").write_text("<h1>Released</h1>")
    await show.enter(page)
    await page.keyboard.press("6")
    await expect(page.locator(".night .card-title")).to_have_text("Night of 2026-05-01")
    frame = page.frame_locator("iframe.report")
    await expect(frame.locator("h1")).to_have_text("Released")
    assert await page.locator("iframe.report").get_attribute("sandbox") == ""
    answer = await page.request.get(f"{show.url}/night")
    assert answer.headers["content-security-policy"].startswith("sandbox; default-src 'none'")


async def test_a_release_is_heard_before_it_goes_on_stage_and_nobody_else_hears_it(show, page):
    await show.enter(page)
    await page.keyboard.press("2")
    await page.get_by_placeholder("What a viewer would write").fill("Tell me about umbrellas")
    said = await page.locator(".her .bubble").count()
    await page.get_by_role("button", name="Preview").click()
    await expect(page.locator(".preview")).to_contain_text("Rain again over the harbour.")
    assert await page.locator(".her .bubble").count() == said
    assert ("owner", "preview", "ok") in show.audited()


async def test_the_overlay_is_shown_as_soon_as_the_voice_serves_it_and_silently(show, page):
    await show.enter(page)
    await page.keyboard.press("2")
    await expect(page.locator(".overlay-box")).to_contain_text("vtuber-brain voice")
    app, asked = web.Application(), []

    async def overlay(request):
        asked.append(request.query_string)
        return web.Response(text="<h1>She is here</h1>", content_type="text/html")

    app.router.add_get("/overlay", overlay)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", show.voice_port).start()
    try:
        await expect(page.frame_locator(".overlay-box iframe").locator("h1")).to_have_text("She is here")
        assert asked == ["muted=1"]
    finally:
        await runner.cleanup()


async def test_a_word_is_blocked_and_let_go_again(show, page):
    await show.enter(page)
    await page.keyboard.press("4")
    await page.get_by_placeholder("A word or phrase").fill("zorblax")
    await page.get_by_role("button", name="Add").click()
    await expect(page.locator(".word")).to_have_text("zorblaxclose")
    await show.do("chat", text="a zorblax came by", author="pim")
    await expect(row(page, "a zorblax came by").locator(".reason")).to_have_text("blocked_word")
    await page.get_by_role("button", name="Remove zorblax").click()
    await expect(page.locator(".word")).to_have_count(0)


async def test_a_part_that_is_down_and_its_reason_are_shown(show, page):
    await show.enter(page)
    await page.keyboard.press("7")
    await expect(page.locator(".part.well")).to_be_visible()
    await show.do("down", part="classifier", reason="killed by signal 9")
    await expect(page.locator(".part.down")).to_have_text("classifier: killed by signal 9")
    await expect(page.locator(".chip")).to_have_text("degraded")
    await show.do("up", part="classifier")
    await expect(page.locator(".chip")).to_have_text("on air")


async def test_everything_is_there_in_indonesian_and_the_theme_is_remembered(show, page):
    await show.enter(page)
    await page.get_by_role("button", name="Bahasa Indonesia").click()
    await expect(page.locator(".chip")).to_have_text("mengudara")
    await expect(page.locator(".rail .q-tab").first).to_contain_text("Ditahan")
    was_dark = await page.evaluate("document.body.classList.contains('body--dark')")
    await page.keyboard.press("l")
    await page.wait_for_function(f"document.body.classList.contains('body--dark') !== {str(was_dark).lower()}")
    await page.reload()
    await expect(page.locator(".chip")).to_have_text("mengudara")
    assert await page.evaluate("document.body.classList.contains('body--dark')") != was_dark


async def test_a_flood_leaves_the_page_bounded_and_the_daemons_loop_alone(show, page):
    await show.enter(page)
    told = await show.do("flood", rate=120, num=360)
    assert told["lag_ms"]["p50"] < 60, told
    await page.wait_for_function(f"document.querySelectorAll('.chat-row').length === {MAX_ROWS}")
    assert await page.locator(".her .bubble").count() <= 60 + 8


async def test_a_page_without_a_connection_says_that_nothing_works_and_one_that_has_it_back_does(show, page):
    await show.enter(page)
    await expect(page.locator("#popup")).to_be_hidden()
    await page.evaluate("window.socket.disconnect()")
    await expect(page.locator("#popup")).to_be_visible()
    told = await page.evaluate("getComputedStyle(document.getElementById('popup'), '::after').content")
    assert told == '"No connection to her: nothing here works until it is back."'
    await page.evaluate("window.socket.connect()")
    await expect(page.locator("#popup")).to_be_hidden()
    await page.keyboard.press("m")
    await expect(page.locator(".chip")).to_have_text("muted")
    await page.keyboard.press("m")
    await expect(page.locator(".chip")).to_have_text("on air")


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_page_left_open_under_a_long_flood_grows_neither_itself_nor_the_daemon(show, page):
    """As many messages as in twenty minutes of a flood; the first third of it fills what is bounded."""
    await show.enter(page)
    before = await show.do("flood", rate=1000, num=20_000)
    heap_mb = await heap(page)
    after = await show.do("flood", rate=1000, num=30_000)
    assert after["rss_mb"] - before["rss_mb"] < 8, (before, after)
    assert await heap(page) - heap_mb < 3
    assert await page.locator(".chat-row").count() == MAX_ROWS
