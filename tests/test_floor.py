"""One holder at a time; priority first, then order of asking; nobody who left blocks those behind."""

import asyncio

from vtuber_brain.floor import Floor, Priority


async def queue_up(floor, spoke, names):
    """Start holders in order; each notes its name when it has the floor."""

    async def hold(name, priority):
        async with floor.held(priority):
            spoke.append(name)

    tasks = {name: asyncio.create_task(hold(name, priority)) for name, priority in names}
    await asyncio.sleep(0)
    return tasks


async def test_first_come_first_served_within_a_priority_and_the_higher_before_the_lower():
    floor, spoke = Floor(), []
    async with floor.held():
        order = [("a", Priority.NORMAL), ("b", Priority.NORMAL), ("paid", Priority.HIGH), ("c", Priority.NORMAL)]
        tasks = await queue_up(floor, spoke, order)
        assert spoke == []
    await asyncio.gather(*tasks.values())
    assert spoke == ["paid", "a", "b", "c"]


async def test_a_waiter_that_leaves_is_passed_over():
    floor, spoke = Floor(), []
    async with floor.held():
        tasks = await queue_up(floor, spoke, [(name, Priority.NORMAL) for name in "abc"])
        tasks["a"].cancel()
        await asyncio.sleep(0)
    await asyncio.gather(tasks["b"], tasks["c"])
    assert spoke == ["b", "c"]


async def test_a_waiter_cancelled_in_the_moment_it_is_called_passes_the_floor_on():
    floor, spoke = Floor(), []
    async with floor.held():
        tasks = await queue_up(floor, spoke, [(name, Priority.NORMAL) for name in "ab"])
    tasks["a"].cancel()  # its turn has been given, it has not run yet
    await asyncio.wait_for(tasks["b"], 1)
    assert spoke == ["b"]
    async with asyncio.timeout(1), floor.held():
        pass


async def test_an_error_while_speaking_gives_the_floor_back():
    floor = Floor()
    try:
        async with floor.held():
            raise RuntimeError
    except RuntimeError:
        pass
    async with asyncio.timeout(1), floor.held():
        pass
