"""What is counted under a fault."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sparcode_es.errors import SparcodeError

KNOWN_CODES = frozenset({0, 2, *(kind.exit_code for kind in SparcodeError.__subclasses__())})


@dataclass
class Outcome:
    """The counts of one fault; the first four must stay zero."""

    fault: str
    versions: tuple[str, ...] = ()
    cases: int = 0
    """How often the fault was made: kills, runs, or recommendations under it."""
    lost: int = 0
    """Documents that a finished `index` had written and that are not there."""
    wrong: int = 0
    """Answers that are no generation's, marked as the codes' own."""
    mixed: int = 0
    """Answers whose codes, scores or titles come from two generations."""
    unhandled: int = 0
    """Exceptions from the API, and commands that ended in a traceback, a signal or an unknown exit code."""
    seen: Counter[str] = field(default_factory=Counter)
    """What else was counted, such as exit codes and answers marked as popular."""
    sentences: list[str] = field(default_factory=list)
    """What commands said, one of a kind."""

    @property
    def failures(self) -> int:
        """Of the four that must be zero."""
        return self.lost + self.wrong + self.mixed + self.unhandled

    def command(self, done: subprocess.CompletedProcess[str], *allowed: int) -> None:
        """Count a command that ended by itself: one sentence, an exit code of ours (one of `allowed`), no traceback."""
        errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
        ordinary = done.returncode in (allowed or KNOWN_CODES) and "Traceback" not in done.stderr
        if not ordinary or len(errors) != (done.returncode != 0):
            self.unhandled += 1
            errors = [done.stderr[-600:]]
        self.seen[f"exit {done.returncode}"] += 1
        self.say(*errors)

    def say(self, *sentences: str) -> None:
        """Keep sentences that were not said yet, at most ten."""
        new = [each for each in sentences if each not in self.sentences]
        self.sentences = (self.sentences + new)[:10]

    def joined(self, other: Outcome) -> Outcome:
        """This one with the counts of another."""
        for key in ("cases", "lost", "wrong", "mixed", "unhandled"):
            setattr(self, key, getattr(self, key) + getattr(other, key))
        self.seen.update(other.seen)
        self.say(*other.sentences)
        return self

    @classmethod
    def kept(cls, row: Mapping[str, Any]) -> Outcome:
        """One that was kept as JSON."""
        found = {key: row[key] for key in ("fault", "cases", "lost", "wrong", "mixed", "unhandled", "sentences")}
        return cls(**found, versions=tuple(row["versions"]), seen=Counter(row["seen"]))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**vars(self), "versions": list(self.versions), "seen": dict(sorted(self.seen.items()))}
