"""The way into the panel: the link, and when a browser is opened for it."""

import re

import pytest

from vtuber_brain.config import Settings, load, state_dir
from vtuber_brain.console import welcome
from vtuber_brain.control.tokens import FILE
from vtuber_brain.errors import ConfigError
from vtuber_brain.panel.addresses import Doors, addresses, login_link
from vtuber_brain.panel_commands import has_desktop, panel
from vtuber_brain.started import Started

DESKTOP = {"DISPLAY": ":0"}


def test_a_browser_is_opened_before_somebody_on_a_desktop_and_never_for_a_service():
    assert has_desktop(DESKTOP, is_terminal=True)
    assert has_desktop({"WAYLAND_DISPLAY": "wayland-0"}, is_terminal=True)
    assert not has_desktop(DESKTOP, is_terminal=False)
    assert not has_desktop({}, is_terminal=True)
    assert not has_desktop({**DESKTOP, "INVOCATION_ID": "0f"}, is_terminal=True)
    assert not has_desktop({**DESKTOP, "SSH_CONNECTION": "192.0.2.1 1 192.0.2.2 22"}, is_terminal=True)


def test_the_command_prints_a_link_with_the_roles_token(tmp_path, capsys):
    config = tmp_path / "brain.toml"
    config.write_text('[control]\npanel = true\nport = 9001\nviewer_token = "look & see"\n')
    config.chmod(0o600)
    panel(config=config)
    token = (state_dir() / FILE).read_text().strip()
    assert capsys.readouterr().out == f"http://127.0.0.1:9001/login?token={token}\n"
    panel(config=config, role="viewer")
    assert capsys.readouterr().out == "http://127.0.0.1:9001/login?token=look%20%26%20see\n"
    with pytest.raises(ConfigError, match="moderator_token"):
        panel(config=config, role="moderator")


def test_without_a_panel_there_is_no_link():
    with pytest.raises(ConfigError, match=r"control\.panel"):
        panel()


def test_an_address_is_one_that_a_browser_here_reaches():
    settings = Settings(control={"host": "0.0.0.0"}, voice={"host": "::1", "port": 9}, websocket={"enabled": False})
    assert login_link(settings, 8765) == "http://127.0.0.1:8765/"
    where = addresses(settings)
    assert (where.chat, where.overlay, where.voice) == (None, "http://[::1]:9/overlay", ("::1", 9))
    assert addresses(load(None)).chat == "ws://127.0.0.1:8766/chat"


def started(**doors):
    facts = {"parameters": 1e6, "dtype": "fp32", "device": "cpu", "num_slots": 1}
    told = {"panel": "http://127.0.0.1:1/", "link": "http://127.0.0.1:1/login?token=s3cret", "once": "once"}
    where = Doors(**{**told, "overlay": "http://127.0.0.1:2/overlay", "is_voiced": True, "may_open": True, **doors})
    return Started("Mori", None, "mqtt", "#", None, "m", facts, "off", None, [], where)


def test_the_link_is_shown_on_a_terminal_and_never_in_a_log(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    welcome(started())
    told = capsys.readouterr().out
    assert "http://127.0.0.1:1/ " in told
    assert "s3cret" not in told
    assert "s3cret" not in repr(started())
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    welcome(started())
    told = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert "http://127.0.0.1:1/login?token=s3cret" in told
    assert "http://127.0.0.1:2/overlay" in told
