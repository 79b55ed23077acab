"""What reaches stderr: one chain for our events and for libraries, no secrets, and at info no viewer's words."""

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from vtuber_brain.runtime import logs

SECRET = 'hunter2"\\s3crét'
WORDS = "what a viewer wrote"


@contextmanager
def logging_to(stream: io.StringIO, level: str, style: str, secrets: tuple[str, ...] = (SECRET,)) -> Iterator[None]:
    """Set logs up on `stream`, and put back what the test runner had set up."""
    root, stderr, config = logging.getLogger(), sys.stderr, structlog.get_config()
    before = root.handlers[:], root.level
    sys.stderr = stream
    try:
        logs.setup(level, style, secrets)
        yield
    finally:
        sys.stderr = stderr
        root.handlers[:], root.level = before[0], before[1]
        structlog.contextvars.clear_contextvars()
        structlog.configure(**config)


@pytest.fixture(params=[("info", "json"), ("info", "console"), ("debug", "json"), ("debug", "console")], ids="-".join)
def written(request) -> Iterator[Callable[[], str]]:
    """Everything written so far, at both levels that matter and in both styles."""
    stream = io.StringIO()
    with logging_to(stream, *request.param):
        yield stream.getvalue


@pytest.fixture
def info() -> Iterator[Callable[[], list[dict[str, object]]]]:
    """The events written so far at info, as JSON."""
    stream = io.StringIO()
    with logging_to(stream, "info", "json"):
        yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def fail_with(text: str) -> None:
    local_password = text  # noqa: F841 - locals must not be rendered
    raise RuntimeError(f"refused: {text}")


log = structlog.get_logger("vtuber_brain.test")
library = logging.getLogger("some.library")


class TestSecrets:
    @pytest.mark.parametrize(
        "key",
        ["token", "access_token", "client_secret", "Password", "Authorization", "credential", "credentials", "api_key"],
    )
    def test_a_field_named_like_one_is_masked_whatever_it_holds(self, key, written):
        log.info("connected", **{key: "anything at all"})
        assert "anything at all" not in written()
        assert "***" in written()

    def test_counting_tokens_is_no_secret(self, info):
        log.info("reply_done", prompt_tokens=12, max_tokens=80, tokens_per_s=30.5, token_ids=[1, 2])
        (event,) = info()
        assert (event["prompt_tokens"], event["max_tokens"], event["tokens_per_s"]) == (12, 80, 30.5)
        assert event["token_ids"] == [1, 2]

    def test_a_known_one_is_hidden_in_messages_nested_fields_and_bound_fields(self, written):
        structlog.contextvars.bind_contextvars(url=f"http://host/?key={SECRET}")
        log.warning("refused", error=f"bad {SECRET}", headers=[("Authorization", f"Bearer {SECRET}")])
        log.warning("refused", deep={"very": {"deep": [SECRET]}}, cause=ValueError(SECRET))
        library.warning("refresh failed: secret=%s", SECRET)
        library.warning(f"refresh failed: {SECRET}")
        self.assert_hidden(written())

    def test_a_known_one_is_hidden_in_tracebacks_of_ours_and_of_libraries(self, written):
        try:
            fail_with(SECRET)
        except RuntimeError:
            log.exception("request_failed")
            library.exception("request failed")
        assert "fail_with" in written()
        self.assert_hidden(written())

    def test_a_chain_of_exceptions_hides_it_in_every_link(self, written):
        try:
            try:
                fail_with(SECRET)
            except RuntimeError as error:
                raise ConnectionError(f"gave up on {SECRET}") from error
        except ConnectionError as error:
            error.add_note(f"with {SECRET}")
            log.exception("request_failed")
        assert "direct cause" in written()
        self.assert_hidden(written())

    def test_a_secret_of_pydantic_shows_stars(self, written):
        log.info("settings", value=SecretStr(SECRET))
        self.assert_hidden(written())

    def test_the_locals_of_a_traceback_are_not_rendered(self, written):
        try:
            fail_with("harmless")
        except RuntimeError:
            log.exception("request_failed")
        assert "local_password =" not in written().replace("local_password = text", "")

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(secret=st.text(min_size=6), style=st.sampled_from(["json", "console"]))
    def test_any_secret_is_hidden_however_its_style_escapes_it(self, secret, style):
        stream = io.StringIO()
        with logging_to(stream, "info", style, (secret,)):
            log.warning("failed", error=f"refused {secret}", other=[secret])
        for shown in (secret, repr(secret)[1:-1], json.dumps(secret)[1:-1]):
            assert shown not in stream.getvalue().replace("***", "")

    def test_an_empty_secret_hides_nothing(self):
        stream = io.StringIO()
        with logging_to(stream, "info", "json", ("",)):
            log.info("ready")
        assert json.loads(stream.getvalue())["event"] == "ready"

    @staticmethod
    def assert_hidden(text: str) -> None:
        for form in (SECRET, json.dumps(SECRET)[1:-1], repr(SECRET)[1:-1], "hunter2", "s3cr"):
            assert form not in text
        assert "***" in text


class TestViewers:
    def test_at_info_every_pii_field_is_dropped_bound_ones_too(self, info):
        structlog.contextvars.bind_contextvars(pii_author="Ann", message_id="m1")
        log.info("judged", pii_text=WORDS, action="allow")
        log.error("reply_failed", pii_reply=WORDS)
        assert [set(event) for event in info()] == [
            {"event", "level", "timestamp", "message_id", "action"},
            {"event", "level", "timestamp", "message_id"},
        ]

    def test_at_debug_they_are_kept(self):
        stream = io.StringIO()
        with logging_to(stream, "debug", "json"):
            log.debug("judged", pii_text=WORDS)
        assert json.loads(stream.getvalue())["pii_text"] == WORDS

    def test_words_cannot_forge_a_line_or_move_the_cursor(self):
        for style in ("json", "console"):
            stream = io.StringIO()
            with logging_to(stream, "debug", style):
                log.debug("judged", pii_text="\x1b[2J\x1b]0;title\x07\r\n2026 [error] forged\u2028x\u0085y")
            assert len(stream.getvalue().splitlines()) == 1
            assert not set("\x1b\x07\r") & set(stream.getvalue())

    def test_half_a_surrogate_pair_is_written_somehow(self):
        with open("/dev/null", "w", encoding="utf-8", errors="backslashreplace") as null:  # noqa: PTH123
            for style in ("json", "console"):
                with logging_to(null, "debug", style):  # type: ignore[arg-type]
                    log.debug("judged", pii_text="\ud800")


class TestEvents:
    def test_an_event_is_one_json_object_with_name_level_and_utc_time(self, info):
        log.warning("bus_lost", retry_s=0.5)
        (event,) = info()
        assert event.pop("timestamp").endswith("Z")
        assert event == {"event": "bus_lost", "level": "warning", "retry_s": 0.5}

    def test_a_library_is_heard_in_the_same_shape(self, info):
        library.error("lost %s after %d s", "contact", 3)
        library.info("fine", extra={"pii_text": WORDS, "token": SECRET})
        assert [(event["event"], event["level"]) for event in info()] == [
            ("lost contact after 3 s", "error"),
            ("fine", "info"),
        ]
        assert all(event.keys() == {"event", "level", "timestamp"} for event in info())

    def test_below_the_level_nothing_is_written(self, info):
        log.debug("detail")
        library.debug("detail")
        assert info() == []

    def test_the_chatty_libraries_speak_from_warning_on(self):
        stream = io.StringIO()
        with logging_to(stream, "debug", "json"):
            logging.getLogger("websockets.server").info(WORDS)
            logging.getLogger("amqtt.broker").debug(WORDS)
            logging.getLogger("websockets.server").warning("slow")
        assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["slow"]

    def test_auto_is_json_where_nobody_watches(self):
        stream = io.StringIO()
        with logging_to(stream, "info", "auto"):
            log.info("ready")
        assert json.loads(stream.getvalue())["event"] == "ready"

    def test_what_json_cannot_carry_is_shown_and_stops_nothing(self, info):
        log.info("odd", data=b"\xff", value={1, 2}, nothing=None, number=float("inf"))
        (event,) = info()
        assert event["data"] == "b'\\xff'"

    def test_setting_up_twice_writes_once(self):
        stream = io.StringIO()
        with logging_to(stream, "info", "json"):
            logs.setup("info", "json")
            log.info("ready")
        assert len(stream.getvalue().splitlines()) == 1
