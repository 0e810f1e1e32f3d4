"""Labels for events: leave-one-out, leave-last-out, users 8:1:1, temporal, or given.

Everything is a function of the data and the seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from sparcode_es import csr
from sparcode_es.data.labels import CONTEXT, TEST, TRAIN, VALID
from sparcode_es.errors import ConfigError, DataError

Protocol = Literal["leave-one-out", "leave-last-out", "users", "temporal", "given"]


@dataclass(frozen=True)
class SplitOptions:
    """How events are split.

    `leave-one-out`: a user's last event is asked in the test, the last but one in validation; users with fewer than three
    events are trained on only. `leave-last-out`: the same with the `last` events, all asked at once, of users with more than
    twice as many. `users`: `held_out` of all users validate and as many test; the first `context` of their events is history,
    the rest is asked (the paper's ML-10M protocol at 0.1 and 0.8). `temporal`: events from `valid_from` on validate, those
    from `test_from` on test; where these are None, the last 2 × and 1 × `held_out` of the events. `given`: the source labels
    its users, all events of one alike, so that those of VALID and TEST have no history.
    """

    protocol: Protocol = "leave-one-out"
    seed: int = 0
    held_out: float = 0.1
    context: float = 0.8
    valid_from: float | None = None
    """Seconds, with their fractions; `test_from` too."""
    test_from: float | None = None
    last: int = 5
    """Events of a user that `leave-last-out` asks in the test, and as many in validation."""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ConfigError(f"the seed must not be negative, not {self.seed}")
        if self.last < 1:
            raise ConfigError(f"at least one event of a user must be asked, not {self.last}")
        if not 0 < self.held_out < 0.5:
            raise ConfigError(f"the held-out share must lie between 0 and 0.5, not {self.held_out}")
        if not 0 < self.context < 1:
            raise ConfigError(f"the context share must lie between 0 and 1, not {self.context}")
        if self.valid_from is not None and self.test_from is not None and self.valid_from > self.test_from:
            raise ConfigError("validation must begin before the test: --valid-from lies after --test-from")


def label_events(
    offsets: np.ndarray, times: np.ndarray | None, options: SplitOptions, user_labels: np.ndarray | None = None
) -> np.ndarray:
    """Labels, uint8 [E], of events sorted by (user, time).

    `offsets`: [U + 1]; `times`: seconds [E], with their fractions, or None; `user_labels`: uint8 [U], for protocol `given`.
    """
    offsets = offsets.astype(np.int64)
    if options.protocol == "given":
        if user_labels is None:
            raise DataError(
                "only a source that labels its users (as Deezer's) can give its split; choose another --split"
            )
        return np.repeat(user_labels, np.diff(offsets)).astype(np.uint8)
    if options.protocol == "leave-one-out":
        return leave_last_out(offsets, 1)
    if options.protocol == "leave-last-out":
        return leave_last_out(offsets, options.last)
    if options.protocol == "users":
        return by_users(offsets, options)
    if times is None:
        raise DataError("a temporal split needs timestamps and this source has none; choose another --split")
    return temporal(times, options)


def leave_last_out(offsets: np.ndarray, last: int) -> np.ndarray:
    """Each user's `last` events TEST, as many before them VALID, the rest TRAIN; all TRAIN for users without such a rest."""
    lengths = np.diff(offsets)
    left = np.repeat(lengths, lengths) - csr.ranges(0, lengths)  # events from here to the user's last
    labels = np.where(left <= last, TEST, np.where(left <= 2 * last, VALID, TRAIN)).astype(np.uint8)
    labels[np.repeat(lengths <= 2 * last, lengths)] = TRAIN
    return labels


def by_users(offsets: np.ndarray, options: SplitOptions) -> np.ndarray:
    """Training users' events TRAIN; of held-out users the first share CONTEXT, the rest VALID or TEST."""
    users = len(offsets) - 1
    held_out = round(users * options.held_out)
    if held_out == 0 or users - 2 * held_out < 1:
        raise DataError(f"{users} users are too few to hold out {options.held_out:.0%} for validation and for the test")
    drawn = np.random.default_rng(options.seed).permutation(users)
    label_of_user = np.full(users, TRAIN, dtype=np.uint8)
    label_of_user[drawn[:held_out]] = VALID
    label_of_user[drawn[held_out : 2 * held_out]] = TEST
    lengths = np.diff(offsets)
    labels = np.repeat(label_of_user, lengths)
    place = csr.ranges(0, lengths)
    context = np.maximum(1, np.floor(lengths * options.context).astype(np.int64))
    labels[(labels != TRAIN) & (place < np.repeat(context, lengths))] = CONTEXT
    return labels


def temporal(times: np.ndarray, options: SplitOptions) -> np.ndarray:
    """Events before t1 TRAIN, in [t1, t2) VALID, from t2 on TEST."""
    shares = [1 - 2 * options.held_out, 1 - options.held_out]
    t1, t2 = (float(t) for t in np.quantile(times, shares, method="higher"))
    t1 = t1 if options.valid_from is None else options.valid_from
    t2 = t2 if options.test_from is None else options.test_from
    if t1 > t2:
        raise DataError(
            f"validation would begin at {t1:.16g}, after the test at {t2:.16g}; give --valid-from and --test-from"
        )
    return np.where(times >= t2, TEST, np.where(times >= t1, VALID, TRAIN)).astype(np.uint8)
