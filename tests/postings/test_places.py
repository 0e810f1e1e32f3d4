"""Places of codes on a map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines.shelf import Scorer, make_shelf
from sparcode_es.postings.places import places
from sparcode_es.postings.profile import Profiler


class Twins(Scorer):
    """The codes 4 and 5 lead to the same items, the code 6 to others."""

    def __init__(self) -> None:
        super().__init__()
        self.table[4:7] = -1
        self.table[4:6, :40] = 1.5
        self.table[6, 40:90] = 1.5


def test_the_busiest_with_postings_have_a_place(tmp_path: Path) -> None:
    profiler = Profiler(make_shelf(tmp_path / "postings"))
    found = places(profiler)
    assert found == places(profiler)
    assert set(found) == set(np.flatnonzero(profiler.survey.counts).tolist())
    few = places(profiler, 5)
    assert set(few) <= set(profiler.busiest(5))
    assert places(profiler, 2) == {}


def test_codes_that_lead_to_the_same_items_lie_together(tmp_path: Path) -> None:
    artifact = make_shelf(tmp_path / "postings", Twins())
    found = {artifact.term(row): np.array(place) for row, place in places(Profiler(artifact)).items()}
    assert found["4"] == pytest.approx(found["5"])
    assert np.linalg.norm(found["4"] - found["6"]) > 0.3
