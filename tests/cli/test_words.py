"""Words that go with numbers."""

from __future__ import annotations

import pytest
from sparcode_es_cli.words import counted


@pytest.mark.parametrize(("number", "said"), [(0, "0 items"), (1, "1 item"), (2, "2 items"), (1500, "1,500 items")])
def test_counted(number: int, said: str) -> None:
    assert counted(number, "item") == said
