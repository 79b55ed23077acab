"""Who is asked next: the choice among servers, the places at each, the waiting line, and the pauses."""

import asyncio

import pytest

from vtuber_brain.engine.endpoints import MAX_WAITING, Endpoint, Turns
from vtuber_brain.errors import EngineDown, RequestFailed


def endpoints(number, up=True):
    made = [Endpoint(f"http://server-{n}", n, 5.0) for n in range(number)]
    for endpoint in made if up else []:
        endpoint.answered()
    return made


class Holder:
    """A request that keeps its turn until it is told to let go."""

    def __init__(self, turns, priority=0, tried=()):
        self.release, self.endpoint = asyncio.Event(), None
        self.task = asyncio.create_task(self.hold(turns, priority, tried))

    async def hold(self, turns, priority, tried):
        async with turns.turn(priority, tried) as self.endpoint:
            await self.release.wait()


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


async def let_go(*holders):
    for holder in holders:
        holder.release.set()
    await asyncio.gather(*(holder.task for holder in holders))


async def test_the_first_url_is_asked_first_and_then_the_one_with_the_fewest_requests():
    first, second = endpoints(2)
    turns = Turns([first, second], 2)
    holders = []
    for expected in (first, second, first, second):
        holders.append(Holder(turns))
        await settle()
        assert holders[-1].endpoint is expected
    await let_go(*holders)
    assert (first.running, second.running) == (0, 0)


async def test_one_that_was_tried_is_asked_again_only_when_there_is_no_other():
    first, second = endpoints(2)
    turns = Turns([first, second], 1)
    elsewhere, again = Holder(turns, tried=[first]), Holder(turns, tried=[first])
    await settle()
    assert (elsewhere.endpoint, again.endpoint) == (second, first)
    await let_go(elsewhere, again)


async def test_of_those_who_wait_the_higher_priority_goes_first_and_within_it_the_earlier():
    turns = Turns(endpoints(1), 1)
    busy = Holder(turns)
    await settle()
    waiting = {}
    for name, priority in [("chat 1", 0), ("chat 2", 0), ("cheer 1", 5), ("cheer 2", 5)]:
        waiting[name] = Holder(turns, priority)
        await settle()
    await let_go(busy)
    order = []
    while len(order) < len(waiting):
        await settle()
        (running,) = [name for name, holder in waiting.items() if holder.endpoint and name not in order]
        order.append(running)
        await let_go(waiting[running])
    assert order == ["cheer 1", "cheer 2", "chat 1", "chat 2"]


async def test_more_than_the_line_holds_is_refused_at_once():
    turns = Turns(endpoints(1), 1)
    holders = [Holder(turns) for _ in range(1 + MAX_WAITING)]
    await settle()
    with pytest.raises(RequestFailed) as failure:
        async with turns.turn(9):
            pass
    assert failure.value.code == "queue_full"
    await let_go(*holders)


async def test_who_leaves_the_line_leaves_no_trace_even_in_the_moment_of_his_turn():
    (only,) = endpoints(1)
    turns = Turns([only], 1)
    busy, leaves, served = Holder(turns), Holder(turns), Holder(turns)
    await settle()
    leaves.task.cancel()
    await settle()
    busy.release.set()
    await settle()
    assert served.endpoint is only
    unlucky = Holder(turns)
    await settle()
    only.running -= 1
    turns.dispatch()  # its turn has come, and it has not noticed yet
    unlucky.task.cancel()
    await settle()
    assert only.running == 0
    only.running += 1
    await let_go(served)
    assert only.running == 0


async def test_one_that_rests_gets_nothing_until_its_rest_is_over():
    (only,) = endpoints(1)
    turns = Turns([only], 1)
    turns.rest(only, 0.05)
    holder = Holder(turns)
    await settle()
    assert holder.endpoint is None
    holder.release.set()
    await asyncio.wait_for(holder.task, 5)


async def test_when_the_last_server_goes_those_who_wait_fail_but_who_tried_one_may_try_again():
    (only,) = endpoints(1)
    turns = Turns([only], 1)
    turns.rest(only, 60)
    new, retrying = Holder(turns), Holder(turns, tried=[only])
    await settle()
    only.failed("gone")
    turns.give_up("gone")
    with pytest.raises(EngineDown):
        await new.task
    await let_go(retrying)
    assert retrying.endpoint is only


def test_pauses_grow_until_a_reply_comes():
    (endpoint,) = endpoints(1)
    pauses = [endpoint.next_pause_s() for _ in range(8)]
    assert pauses[0] < 0.31
    assert pauses[0] < pauses[2] < pauses[4]
    assert max(pauses) <= 5
    endpoint.replied()
    assert endpoint.next_pause_s() < 0.31
