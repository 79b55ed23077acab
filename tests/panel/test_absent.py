"""Without NiceGUI the API works as before, and the place of the panel says what to install."""

import asyncio
import sys

import aiohttp

from tests.support.operators import operated
from vtuber_brain.config import Settings, state_dir
from vtuber_brain.control.server import ControlServer, application
from vtuber_brain.control.tokens import load_tokens
from vtuber_brain.controls import Controls
from vtuber_brain.panel import absent
from vtuber_brain.plan import make_plan
from vtuber_brain.runtime.metrics import Metrics


async def test_where_it_is_not_installed_another_stands_in_its_place(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "nicegui", None)
    monkeypatch.delitem(sys.modules, "vtuber_brain.panel.panel", raising=False)
    config = tmp_path / "brain.toml"
    config.write_text("[control]\npanel = true\n")
    controls = Controls(make_plan(config), Metrics())
    controls.desk = None
    panel = await controls._panel(load_tokens(Settings().control, state_dir()))
    assert isinstance(panel, absent.Panel)


async def test_it_says_what_to_install_and_leaves_the_api_alone():
    async with operated() as one:
        tokens = load_tokens(one.settings, state_dir())
        app = application(one.desk, tokens, one.feed, one.audit, one.settings, one.metrics, absent.Panel().front)
        server, listening = ControlServer(app, one.feed, one.settings), asyncio.Event()
        running = asyncio.create_task(server.run(lambda _: listening.set()))
        await listening.wait()
        async with aiohttp.ClientSession() as http:
            for path, status, told in (
                ("/", 503, "vtuber-brain[panel]"),
                ("/healthz", 200, "ok"),
                ("/x", 404, "not_found"),
            ):
                async with http.get(f"http://127.0.0.1:{server.port}{path}") as answer:
                    assert answer.status == status
                    assert told in await answer.text()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_daemon_without_a_panel_imports_nothing_of_it():
    code = "import sys, vtuber_brain.app, vtuber_brain.control.server; sys.exit('nicegui' in sys.modules)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    assert await process.wait() == 0
