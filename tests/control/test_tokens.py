"""Tokens: told apart by role, never kept where others can read them."""

import stat

import pytest
from pydantic import SecretStr

from vtuber_brain.control.tokens import Role, load_tokens, own_token
from vtuber_brain.control_sections import ControlSettings
from vtuber_brain.errors import ConfigError


def test_without_an_owner_s_token_one_is_made_once_and_kept_for_its_owner_alone(tmp_path):
    tokens = load_tokens(ControlSettings(), tmp_path / "state")
    file = tmp_path / "state" / "control_token"
    made = file.read_text().strip()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(made) >= 40
    assert tokens.identify(made)[0] is Role.OWNER
    assert load_tokens(ControlSettings(), tmp_path / "state").identify(made)[0] is Role.OWNER


def test_an_owner_s_token_of_the_settings_needs_no_file(tmp_path):
    tokens = load_tokens(ControlSettings(owner_token=SecretStr("o" * 20)), tmp_path)
    assert tokens.identify("o" * 20)[0] is Role.OWNER
    assert not (tmp_path / "control_token").exists()


def test_a_token_that_others_could_read_is_made_anew(tmp_path, caplog):
    file = tmp_path / "control_token"
    old = own_token(file)
    file.chmod(0o644)
    new = own_token(file)
    assert new != old
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert old not in caplog.text
    assert new not in caplog.text


def test_a_link_in_its_place_is_not_followed(tmp_path):
    target = tmp_path / "elsewhere"
    target.write_text("planted\n")
    target.chmod(0o600)
    (tmp_path / "control_token").symlink_to(target)
    with pytest.raises(ConfigError):
        own_token(tmp_path / "control_token")
    assert target.read_text() == "planted\n"


def test_every_role_has_its_own_fingerprint_and_nobody_else_has_any(tmp_path):
    given = {f"{role}_token": SecretStr(role * 3) for role in ("viewer", "moderator", "owner")}
    tokens = load_tokens(ControlSettings(**given), tmp_path)
    found = [tokens.identify(role * 3) for role in ("viewer", "moderator", "owner")]
    assert [role for role, _ in found] == [Role.VIEWER, Role.MODERATOR, Role.OWNER]
    assert len({name for _, name in found}) == 3
    for wrong in ("", "viewer", "viewerviewerviewe", "ownerownerowner ", "\udce4"):
        assert tokens.identify(wrong) is None


def test_an_empty_token_is_nobody_s(tmp_path):
    tokens = load_tokens(ControlSettings(viewer_token=SecretStr("")), tmp_path)
    assert tokens.identify("") is None
