"""Work that needs answers from elsewhere, written once for blocking and for asynchronous callers.

A plan is a generator: it yields what it needs (a request, a pause) and is sent the answer, or has the error raised where it
stands. `run` and `arun` are the two drivers; `within` puts retries and a total budget around any plan.
"""

from __future__ import annotations

import contextlib
import math
import random
import sys
import time
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from sparcode_es.errors import ConfigError, EngineUnavailableError, SparcodeError


@dataclass(frozen=True)
class Call:
    """A request. A `bytes` body is sent as newline-delimited JSON."""

    method: str
    path: str
    body: Any = None
    params: Mapping[str, Any] = field(default_factory=dict)
    timeout: float | None = None
    """Seconds; None: the connection's own."""
    again: Callable[[], Call] | None = None
    """What is sent in its place on further attempts, such as the same search of any copy; None: itself."""


@dataclass(frozen=True)
class Pause:
    """A wait before something is tried again."""

    seconds: float


CONNECTIONS = 32
"""To one server, kept open."""
T = TypeVar("T")
Operation = Call | Pause
Plan = Generator[Operation, Any, T]


@dataclass(frozen=True)
class Limits:
    """How long a plan may take, and how often it asks again."""

    timeout: float = 1.0
    """Seconds that one request may wait for the server; over a blocking connection, for each part of its answer. Half of the
    budget at most where there are further attempts, so that a copy that hangs leaves time to ask another."""
    budget: float = 2.0
    """Seconds for the whole, retries and pauses counted: after them no request begins, and none waits longer."""
    attempts: int = 3
    """How often a request is sent that met 429, 502, 503, 504 or a lost connection."""
    pause: float = 0.05
    """Seconds before the second attempt; doubled for each further one, with jitter."""
    in_flight: int = CONNECTIONS
    """Calls of one recommender that are carried out at once (a batch is one call). One more is shed at once: popular items,
    marked as such, or `EngineUnavailableError` without fallback. So an overload costs answers, not memory and time."""

    def __post_init__(self) -> None:
        if not (
            self.timeout > 0 and self.budget > 0 and self.pause >= 0 and self.attempts >= 1 and self.in_flight >= 1
        ):
            raise ConfigError(f"limits must be positive, with at least one attempt and one call, not {self}")

    @property
    def longest(self) -> float:
        """Seconds that one request waits at most."""
        return self.timeout if self.attempts == 1 else min(self.timeout, self.budget / 2)


UNLIMITED = Limits(timeout=math.inf, budget=math.inf, attempts=4, pause=0.1, in_flight=sys.maxsize)
"""No limit but the connection's own timeout, as for `index`."""


def done(value: T) -> Plan[T]:
    """A plan that needs nothing."""
    yield from ()
    return value


class _Course(Generic[T]):
    """Where a plan stands: what it wants next, or its result."""

    def __init__(self, plan: Plan[T]) -> None:
        self.plan = plan
        self.wanted: Operation | None = None
        """None: the plan has come to its end."""
        self.result: T
        self._advance(plan.send, None)

    def answer(self, value: Any) -> None:
        """Go on with what was wanted."""
        self._advance(self.plan.send, value)

    def fail(self, error: SparcodeError) -> None:
        """Go on with the error that came of it."""
        self._advance(self.plan.throw, error)

    def _advance(self, step: Callable[[Any], Operation], value: Any) -> None:
        try:
            self.wanted = step(value)
        except StopIteration as end:
            self.wanted, self.result = None, end.value


def run(plan: Plan[T], perform: Callable[[Operation], Any]) -> T:
    """Carry out a plan here and now."""
    with contextlib.closing(plan):
        course = _Course(plan)
        while course.wanted is not None:
            try:
                value = perform(course.wanted)
            except SparcodeError as error:
                course.fail(error)
            else:
                course.answer(value)
    return course.result


async def arun(plan: Plan[T], perform: Callable[[Operation], Awaitable[Any]]) -> T:
    """Carry out a plan while others run."""
    with contextlib.closing(plan):
        course = _Course(plan)
        while course.wanted is not None:
            try:
                value = await perform(course.wanted)
            except SparcodeError as error:
                course.fail(error)
            else:
                course.answer(value)
    return course.result


def within(plan: Plan[T], limits: Limits, clock: Callable[[], float] = time.monotonic) -> Plan[T]:
    """The same plan, its calls retried and the whole kept inside the budget.

    Raises `EngineUnavailableError` inside the plan, where the call stands, when the budget or the attempts are used up.
    """
    deadline = clock() + limits.budget
    course = _Course(plan)
    while course.wanted is not None:
        try:
            value = yield from _tried(course.wanted, limits, deadline, clock)
        except SparcodeError as error:
            course.fail(error)
        else:
            course.answer(value)
    return course.result


def _tried(wanted: Operation, limits: Limits, deadline: float, clock: Callable[[], float]) -> Plan[Any]:
    """One operation, sent again after growing pauses while there is time for it."""
    if isinstance(wanted, Pause):
        return (yield wanted)
    for attempt in range(1, limits.attempts + 1):
        left = deadline - clock()
        if left <= 0:
            raise EngineUnavailableError(f"the {limits.budget:g} s that the call may take were used up")
        longest = min(left, limits.longest, math.inf if wanted.timeout is None else wanted.timeout)
        try:
            return (yield replace(wanted, timeout=longest if longest < math.inf else None))
        except EngineUnavailableError:
            pause = min(10.0, limits.pause * 2 ** (attempt - 1)) * random.uniform(0.5, 1.5)
            if attempt == limits.attempts or clock() + pause >= deadline:
                raise
        yield Pause(pause)
        wanted = wanted if wanted.again is None else wanted.again()
    raise AssertionError("unreachable")
