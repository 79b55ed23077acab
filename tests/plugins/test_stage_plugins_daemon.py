"""Both plugins of the stage in a real daemon: what a viewer's message brings about in VTube Studio and in OBS."""

import time

from tests.support.brokers import Collector
from tests.support.daemon import Daemon, viewer
from tests.support.obs_fake import FakeObs
from tests.support.openai_fake import FakeServer
from tests.support.vtube_studio_fake import FakeVTubeStudio

PASSWORD = "supersecretpassword"


def extra(app, obs, server):
    return f"""
[engine]
kind = "openai"
[remote]
urls = ["{server.url}"]
model = "base"
[sentiment]
enabled = false
[plugins.vtube_studio]
url = "{app.url}"
discover = "off"
voice_url = ""
[plugins.obs_studio]
url = "{obs.url}"
subtitles = "Subtitles"
voice_input = "Voice"
[plugins.obs_studio.scenes]
mori = "Mori's room"
bolt = "Bolt's garage"
"""


async def test_a_reply_moves_her_mouth_and_is_read_in_obs_and_a_mute_reaches_both(tmp_path):
    async with FakeVTubeStudio() as app, FakeObs(password=PASSWORD) as obs, FakeServer() as server:
        env = {"VTB_PLUGINS__OBS_STUDIO__PASSWORD": PASSWORD}
        async with (
            Daemon(tmp_path, extra=extra(app, obs, server), env=env) as daemon,
            viewer(daemon.url) as chat,
            Collector(daemon.bus_port) as bus,
        ):
            await chat.say("one", "Hello Mori, how are you tonight?")
            said = await chat.until("utterance")
            played = {"reply_id": said["reply_id"], "seq": said["seq"], "state": "started", "at": time.time()}
            await bus.send("vtuber/mori/v1/playback", played)
            await obs.until(lambda: obs.texts["Subtitles"] == said["text"])
            await app.until(lambda: app.injected and app.injected[-1][1]["MouthOpen"] > 0.2)
            await bus.send("vtuber/mori/v1/control", {"command": "mute", "id": "1"})
            await obs.until(lambda: obs.muted["Voice"] and obs.texts["Subtitles"] == "")
            await app.until(lambda: app.injected[-1][1]["MouthOpen"] == 0)
            await bus.send("vtuber/mori/v1/control", {"command": "unmute", "id": "2"})
            await obs.until(lambda: not obs.muted["Voice"])
            await bus.send("vtuber/mori/v1/control", {"command": "persona", "name": "bolt", "id": "3"})
            await obs.until(lambda: obs.scene == "Bolt's garage", timeout_s=60)
            await obs.drop(4011)
            down = await daemon.event("part_down", part="obs_studio")
            assert down["reason"] == "somebody has kicked us out in OBS (close code 4011)"
            assert await daemon.stop() == 0
        assert app.complaints == obs.complaints == []
        assert PASSWORD not in str(daemon.log)
