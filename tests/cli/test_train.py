"""What `sparcode-es train` says at its end."""

from __future__ import annotations

from typing import Any

import pytest
from sparcode_es_cli.train import doubts

TOWER = {"tower_epochs": 16, "tower_validation": 0.53}


@pytest.mark.parametrize(
    ("report", "ahead"),
    [
        ({**TOWER, "codes_validation": 0.49, "memory_validation": 0.52}, "0.5300 against 0.5200"),
        ({**TOWER, "codes_validation": 0.49, "memory_validation": 0.54}, None),
        ({**TOWER, "codes_validation": 0.49}, "0.5300 against 0.4900"),
        (TOWER, None),
        ({"codes_validation": 0.49, "memory_validation": 0.48}, None),
        ({**TOWER, "model_validation": 0.52}, "0.5300 against 0.5200"),
        ({}, None),
    ],
)
def test_a_twin_that_is_ahead_on_validation_is_told(report: dict[str, Any], ahead: str | None) -> None:
    found = list(doubts(report, "ndcg@50"))
    assert len(found) == (ahead is not None)
    assert all(str(ahead) in sentence and "two_tower.pt" in sentence for sentence in found)
    assert all(("codes a token" in sentence) is ("codes_validation" in report) for sentence in found)
