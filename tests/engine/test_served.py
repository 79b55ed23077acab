"""Loras at the servers: loaded everywhere under a name per content, swapped without a torn reply, healed after loss."""

import asyncio

import pytest

from tests.support.openai_fake import FakeServer, Say, Status
from tests.support.remotes import collect, engine_for, looked_at, request, until_state
from vtuber_brain.errors import EngineDown, LoraRejected, RequestFailed


@pytest.fixture
def lora(tmp_path):
    """Write a PEFT directory of this content; only its bytes matter to anyone here."""

    def write(content, name="release"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        folder.joinpath("adapter_config.json").write_text("{}")
        folder.joinpath("adapter_model.safetensors").write_text(content)
        return folder

    return write


async def answer(engine, name="mori"):
    """The model that answered a request for this lora."""
    return (await collect(engine, request(lora=name)))[0].removeprefix("hello from ")


def loads(server):
    return [body["lora_name"] for route, body in server.calls if route == "load_lora_adapter"]


def unloads(server):
    return [body["lora_name"] for route, body in server.calls if route == "unload_lora_adapter"]


async def test_a_lora_is_loaded_at_every_server_and_answers_by_its_own_name(lora):
    async with (
        FakeServer() as first,
        FakeServer() as second,
        engine_for(first.url, second.url, loras="vllm") as engine,
    ):
        await looked_at(first, second)
        await engine.load_lora("mori", lora("one"))
        (model,) = first.loras
        assert second.loras == first.loras == {model: str(lora("one"))}
        assert await answer(engine) == model
        assert (await collect(engine))[0] == "hello from base"


async def test_a_lora_nobody_loaded_fails_without_a_request():
    async with FakeServer() as server, engine_for(server.url, loras="vllm") as engine:
        with pytest.raises(RequestFailed) as failure:
            await answer(engine)
        assert failure.value.code == "unknown_lora"
        assert server.requests == []


async def test_a_running_reply_ends_on_the_old_weights_and_those_go_only_then(lora):
    hold = asyncio.Event()
    async with FakeServer(Say.of("a", hold)) as server, engine_for(server.url, loras="vllm") as engine:
        await engine.load_lora("mori", lora("one"))
        running = asyncio.create_task(collect(engine, request(lora="mori")))
        await server.until(lambda server: server.running == 1)
        await engine.load_lora("mori", lora("two"))
        old, new = loads(server)
        assert old != new, "one name for two contents would share vLLM's prefix cache and change the running reply"
        assert await answer(engine) == new
        await looked_at(server)
        assert set(server.loras) == {old, new}
        hold.set()
        await running
        await server.until(lambda server: set(server.loras) == {new})
        assert unloads(server) == [old]


async def test_the_same_content_again_changes_nothing(lora):
    async with FakeServer() as server, engine_for(server.url, loras="vllm") as engine:
        await engine.load_lora("mori", lora("one"))
        await engine.load_lora("mori", lora("one", "a copy elsewhere"))
        assert len(loads(server)) == 1
        assert unloads(server) == []
        await answer(engine)


async def test_a_dropped_lora_is_unloaded_and_an_unknown_one_is_no_error(lora):
    async with FakeServer() as server, engine_for(server.url, loras="vllm") as engine:
        await engine.load_lora("mori", lora("one"))
        await engine.drop_lora("mori")
        await engine.drop_lora("nobody")
        assert server.loras == {}
        with pytest.raises(RequestFailed, match="unknown_lora"):
            await answer(engine)


async def test_what_another_daemon_loaded_is_used_and_left_alone(lora):
    async with FakeServer() as server, engine_for(server.url, loras="vllm") as theirs:
        await theirs.load_lora("mori", lora("one"))
        async with engine_for(server.url, loras="vllm") as ours:
            await ours.load_lora("mori", lora("one"))
            await answer(ours)
            await ours.drop_lora("mori")
        assert len(loads(server)) == 1
        assert len(server.loras) == 1


async def test_two_daemons_that_load_the_same_at_once_both_have_it(lora):
    async with (
        FakeServer() as server,
        engine_for(server.url, loras="vllm", probe_s=60) as theirs,
        engine_for(server.url, loras="vllm", probe_s=60) as ours,
    ):
        await theirs.load_lora("mori", lora("one"))
        await ours.load_lora("mori", lora("one"))
        assert len(loads(server)) == 2, "ours has not seen that it is there"
        await answer(ours)
        await ours.drop_lora("mori")
        await answer(theirs)
        assert unloads(server) == []


async def test_one_server_that_refuses_it_leaves_everything_as_it_was(lora):
    async with (
        FakeServer() as first,
        FakeServer() as second,
        engine_for(first.url, second.url, loras="vllm") as engine,
    ):
        await looked_at(first, second)
        await engine.load_lora("mori", lora("one"))
        before = dict(first.loras)
        second.lora_answer = Status(500, "LoRA rank 64 is greater than max_lora_rank 16.")
        with pytest.raises(LoraRejected, match=rf"{second.url}.*rank 64"):
            await engine.load_lora("mori", lora("two"))
        assert first.loras == second.loras == before
        assert [await answer(engine)] == list(before)


async def test_a_server_without_the_endpoint_is_told_how_to_have_it(lora):
    async with FakeServer() as server, engine_for(server.url, loras="vllm") as engine:
        server.lora_answer = Status(404, "Not Found")
        with pytest.raises(LoraRejected, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING"):
            await engine.load_lora("mori", lora("one"))


async def test_what_is_no_lora_is_rejected_before_any_server_hears_of_it(tmp_path):
    async with FakeServer() as server, engine_for(server.url, loras="vllm") as engine:
        with pytest.raises(LoraRejected, match=r"adapter_config\.json"):
            await engine.load_lora("mori", tmp_path)
        assert loads(server) == []


async def test_with_no_server_up_loading_says_so(lora):
    async with FakeServer() as server, engine_for(server.url, loras="vllm") as engine:
        await server.stop()
        await until_state(engine, "down")
        with pytest.raises(EngineDown):
            await engine.load_lora("mori", lora("one"))


async def test_a_server_that_comes_back_is_used_only_once_it_has_the_loras(lora):
    async with (
        FakeServer() as first,
        FakeServer() as second,
        engine_for(first.url, second.url, loras="vllm") as engine,
    ):
        await looked_at(first, second)
        await engine.load_lora("mori", lora("one"))
        await first.stop()
        await answer(engine)
        first.lora_answer = Status(500, "no memory")
        await first.start()
        await looked_at(first)
        await answer(engine)
        assert first.requests == []
        assert (await engine.wait_ready())["urls"] == [second.url]
        first.lora_answer = None
        await looked_at(first)
        assert set(first.loras) == set(second.loras)
        await answer(engine)
        assert len(first.requests) == 1


async def test_a_server_that_was_restarted_between_two_looks_is_given_the_lora_again(lora):
    async with FakeServer() as server, engine_for(server.url, loras="vllm", probe_s=60) as engine:
        await engine.load_lora("mori", lora("one"))
        server.loras.clear()
        assert (await answer(engine)).startswith("mori@")
        assert len(server.requests) == 2
        server.loras.clear()
        server.lora_answer = Status(500, "gone from the disk")
        with pytest.raises(RequestFailed) as failure:
            await answer(engine)
        assert failure.value.code == "unknown_lora"


async def test_served_loras_are_asked_for_by_their_own_name_and_must_be_there(lora):
    async with FakeServer(models=("base", "mori")) as server, engine_for(server.url) as engine:
        await engine.load_lora("mori", lora("one"))
        assert await answer(engine) == "mori"
        with pytest.raises(LoraRejected, match="--lora-modules rin=PATH"):
            await engine.load_lora("rin", lora("one"))
        await engine.drop_lora("mori")
        assert loads(server) == unloads(server) == []
