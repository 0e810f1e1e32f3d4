"""The settings of Faiss that ours is measured beside."""

from __future__ import annotations

from collections.abc import Sequence

from sparcode_es.engines.faiss import HNSW, IVFPQ, FlatIP, Parameters


def faiss_points(items: int, sizes: Sequence[int]) -> list[tuple[str, str, Parameters]]:
    """Kind, setting and parameters: exact; IVFPQ with √I × 2 lists and these sizes of an item in sub-vectors; HNSW.

    IVFPQ needs items enough to learn from, so there is none below that, and few items have smaller codes.
    """
    lists, bits = max(4, int(2 * items**0.5)), 8 if items >= 1000 else 6
    found: list[tuple[str, str, Parameters]] = [("FlatIP", "", FlatIP())]
    found += [
        ("IVFPQ", f"{size * bits // 8} bytes, {probes} of {lists} lists", IVFPQ(lists, probes, size, bits))
        for size in sizes
        for probes in (4, 16, 64)
        if probes <= lists and items >= max(lists, 2**bits)
    ]
    return found + [("HNSW", f"ef {ef}", HNSW(ef_search=ef)) for ef in (16, 64, 256)]
