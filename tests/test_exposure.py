"""What the network could reach without a token is not opened; who opens nothing needs no token."""

import subprocess
import sys

import pytest

from vtuber_brain.config import load
from vtuber_brain.exposure import is_loopback, unguarded

LONG = "a-token-nobody-guesses"
OPEN = ["0.0.0.0", "::", "192.168.1.2", "stream.example", "127.evil.example", ""]


def found(tmp_path, text):
    config = tmp_path / "brain.toml"
    config.write_text(text)
    config.chmod(0o600)
    return [(problem.where, problem.what) for problem in unguarded(load(config))]


@pytest.mark.parametrize("host", OPEN)
@pytest.mark.parametrize(("section", "token"), [("websocket", "token"), ("control", "owner_token"), ("voice", "token")])
def test_who_listens_to_the_network_needs_a_token_that_nobody_guesses(section, token, host, tmp_path):
    text = f'[{section}]\nenabled = true\nhost = "{host}"\n'
    for none in ("", f'{token} = ""\n'):
        ((where, what),) = found(tmp_path, text + none)
        assert where == f"{section}.host"
        assert what.endswith("would be open to the network without a token")
    assert found(tmp_path, f'{text}{token} = "short"') == [(f"{section}.{token}", "too short for a network")]
    assert found(tmp_path, f'{text}{token} = "{LONG}"') == []
    assert found(tmp_path, text.replace("true", "false")) == []


def test_every_role_of_the_network_has_a_long_token(tmp_path):
    text = f'[control]\nhost = "0.0.0.0"\nowner_token = "{LONG}"\nviewer_token = "v"\nmoderator_token = "m"'
    assert [where for where, _ in found(tmp_path, text)] == ["control.viewer_token", "control.moderator_token"]
    assert found(tmp_path, text.replace("0.0.0.0", "127.0.0.1")) == []


def test_a_voice_that_opens_no_page_needs_no_token(tmp_path):
    assert found(tmp_path, '[voice]\nenabled = true\noutput = "files"\nhost = "0.0.0.0"') == []


def test_the_token_of_a_door_is_asked_of_who_opens_it_and_of_nobody_else(tmp_path):
    config = tmp_path / "brain.toml"
    config.write_text('[websocket]\nhost = "0.0.0.0"\n[voice]\nhost = "0.0.0.0"\n')

    def code(*command):
        line = [sys.executable, "-m", "vtuber_brain", *command, "--config", str(config)]
        done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, "without a token" in done.stderr

    assert code("off-air") == (0, False)
    assert code("run") == (2, True)
    assert code("voice") == (2, True)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_is_what_only_this_machine_reaches(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", [*OPEN, "10.0.0.1", "localhost.example", "127.0.0.1 "])
def test_everything_else_is_not(host):
    assert not is_loopback(host)
