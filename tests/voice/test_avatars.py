"""The avatar: drawn, a folder of pictures, or a VRM file; nothing else in the folder can be fetched."""

import pytest

from vtuber_brain.errors import Refused
from vtuber_brain.voice.avatars import find_avatar


def test_a_drawn_one_needs_no_files():
    one = find_avatar("drawn")
    assert (one.told, one.files) == ({"kind": "drawn", "files": {}}, {})


def test_a_folder_gives_its_pictures_by_role_and_nothing_else(tmp_path):
    for name in ("idle.png", "talk.png", "smile_talk.png", "My Notes.png", "secret.txt"):
        (tmp_path / name).write_bytes(b"x")
    one = find_avatar(str(tmp_path))
    assert one.told["files"] == {
        "idle": "/overlay/avatar/idle.png",
        "talk": "/overlay/avatar/talk.png",
        "smile_talk": "/overlay/avatar/smile_talk.png",
    }
    assert set(one.files) == {"idle.png", "talk.png", "smile_talk.png"}


def test_a_vrm_file_is_one_file(tmp_path):
    path = tmp_path / "my model.vrm"
    path.write_bytes(b"glTF")
    one = find_avatar(str(path))
    assert one.told == {"kind": "vrm", "files": {"model": "/overlay/avatar/my%20model.vrm"}}
    assert one.files == {"my model.vrm": path}


def test_what_is_wrong_is_said(tmp_path):
    (tmp_path / "idle.png").write_bytes(b"x")
    for setting, why in ((tmp_path, "lacks talk.png"), (tmp_path / "gone.vrm", "no such file"), ("nowhere", "neither")):
        with pytest.raises(Refused, match=why):
            find_avatar(str(setting))
