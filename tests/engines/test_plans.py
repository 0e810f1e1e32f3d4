"""Plans: both drivers do the same, retries stay within the budget, errors are raised where they can be caught."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparcode_es.engines.plans import Call, Limits, Operation, Pause, Plan, arun, done, run, within
from sparcode_es.errors import ConfigError, EngineError, EngineUnavailableError

ASK = Call("GET", "/")


class World:
    """Answers from a list (an exception is raised), each after some seconds of a clock of its own."""

    def __init__(self, answers: list[Any], seconds: float = 0.0) -> None:
        self.answers, self.seconds, self.now, self.calls = answers, seconds, 0.0, list[Call]()

    def clock(self) -> float:
        return self.now

    def perform(self, wanted: Operation) -> Any:
        if isinstance(wanted, Pause):
            self.now += wanted.seconds
            return None
        self.calls.append(wanted)
        self.now += min(self.seconds, wanted.timeout if wanted.timeout is not None else self.seconds)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def aperform(self, wanted: Operation) -> Any:
        return self.perform(wanted)


def one() -> Plan[Any]:
    return (yield ASK)


def two() -> Plan[list[Any]]:
    first = yield ASK
    try:
        second = yield ASK
    except EngineError as error:
        second = str(error)
    return [first, second]


Driver = Callable[[Plan[Any], World], Any]
DRIVERS: dict[str, Driver] = {
    "run": lambda plan, world: run(plan, world.perform),
    "arun": lambda plan, world: asyncio.run(arun(plan, world.aperform)),
}


@pytest.fixture(params=DRIVERS)
def drive(request: pytest.FixtureRequest) -> Driver:
    return DRIVERS[request.param]


def test_answers_and_errors_reach_the_plan(drive: Driver) -> None:
    assert drive(two(), World([1, 2])) == [1, 2]
    assert drive(two(), World([1, EngineError("no")])) == [1, "no"]
    with pytest.raises(EngineUnavailableError, match="gone"):
        drive(two(), World([EngineUnavailableError("gone")]))
    assert drive(done(7), World([])) == 7


def test_further_attempts_may_ask_something_else(drive: Driver) -> None:
    def plan() -> Plan[Any]:
        return (yield Call("GET", "/one", again=lambda: Call("GET", "/any")))

    world = World([EngineUnavailableError("hangs"), EngineUnavailableError("hangs"), 1])
    assert drive(within(plan(), Limits(), world.clock), world) == 1
    assert [call.path for call in world.calls] == ["/one", "/any", "/any"]


class Hanging(World):
    """Never answers at the path /one, and at once elsewhere."""

    def perform(self, wanted: Operation) -> Any:
        if isinstance(wanted, Pause) or wanted.path != "/one":
            return super().perform(wanted)
        assert wanted.timeout is not None
        self.now += wanted.timeout
        raise EngineUnavailableError("hangs")


@pytest.mark.parametrize("limits", [Limits(), Limits(timeout=30, budget=2), Limits(budget=0.5), Limits(attempts=2)])
def test_a_copy_that_hangs_leaves_time_to_ask_another(drive: Driver, limits: Limits) -> None:
    def plan() -> Plan[Any]:
        return (yield Call("GET", "/one", again=lambda: Call("GET", "/any")))

    world = Hanging(["found"])
    assert drive(within(plan(), limits, world.clock), world) == "found"
    assert world.now < limits.budget


def test_the_only_attempt_has_the_whole_budget(drive: Driver) -> None:
    world = World([1, 2], seconds=0.9)
    limits = Limits(timeout=30, budget=1, attempts=1)
    assert drive(within(one(), limits, world.clock), world) == 1
    assert world.calls[0].timeout == 1


def test_what_may_pass_is_tried_again_and_nothing_else(drive: Driver) -> None:
    world = World([EngineUnavailableError("busy"), 1, EngineError("wrong")])
    assert drive(within(two(), Limits(), world.clock), world) == [1, "wrong"]
    assert len(world.calls) == 3
    assert world.now > 0
    world = World([EngineUnavailableError(f"busy {n}") for n in range(9)])
    with pytest.raises(EngineUnavailableError, match="busy 2"):
        drive(within(two(), Limits(attempts=3), world.clock), world)


@given(
    st.lists(st.booleans(), max_size=12),
    st.floats(0.001, 3),
    st.floats(0.01, 2),
    st.floats(0.01, 2),
    st.integers(1, 6),
    st.floats(0, 1),
)
def test_the_budget_is_kept(
    good: list[bool], seconds: float, timeout: float, budget: float, attempts: int, pause: float
) -> None:
    answers: list[Any] = [1 if each else EngineUnavailableError("busy") for each in good]
    world = World([*answers, *[1, 1]], seconds)
    limits = Limits(timeout, budget, attempts, pause)
    with contextlib.suppress(EngineUnavailableError):
        assert run(within(two(), limits, world.clock), world.perform) == [1, 1]
    assert world.now <= budget * (1 + 1e-9)
    assert all(call.timeout is not None and call.timeout <= timeout for call in world.calls)


@pytest.mark.parametrize("wrong", [{"timeout": 0}, {"budget": -1.0}, {"attempts": 0}, {"pause": -0.1}])
def test_limits_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="positive"):
        Limits(**wrong)
