"""The postings artifact, opened: everything between training and any engine, memory-mapped."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sparcode_es.codes import Clause, of_items, term_of
from sparcode_es.errors import ArtifactError, DataError
from sparcode_es.postings.manifest import REBUILD, Manifest, content_of, folder_of, parsed, source_of
from sparcode_es.postings.terms import TermRows
from sparcode_es.postings.transpose import BLOCK_POSTINGS, count_by_item, count_rows_by_item, transpose
from sparcode_es.tables import StringTable, read_document

ATTEMPTS = 10
"""How often an artifact is opened again because it was replaced meanwhile."""
FOLDED_PARTS = {"offsets": np.int64, "items": np.int32, "counts": np.float32}
"""The arrays of a table of folded counts, in CSR form: files `folded_TABLE.PART.npy`."""
NO_TIME = np.iinfo(np.int64).min


class Artifact:
    """P postings of C codes on I items, and the codes and seen items of U users.

    Attributes: `code_offsets` uint64 [C + 1]; `codes` uint32 [C, 1 + M], in lexicographic order; `item_numbers` uint32
    [P], ascending within a code; `scores` uint16 [P], grid values (see `sparcode_es.postings.grid`); `item_ids` and
    `user_ids`, searchable tables; `item_docs`, a table of JSON texts; `user_code_offsets` uint64 [U + 1], `user_codes`
    uint32 (rows of `codes`), `user_boosts` float32; `user_seen_offsets` uint64 [U + 1], `user_seen` uint32 (item
    numbers, oldest first); `manifest`; `generation_hash`, 12 hexadecimal digits that differ when anything but the time of
    building does; `path`. Of updates: `folded`, the counts that they added, by table and part (see
    `sparcode_es.postings.folded`); `user_times` int64 [U], seconds: the last time of each user in their logs, else NO_TIME.

    All of it is mapped when it is opened, and stays what it was when another artifact takes its place at `path`.
    """

    def __init__(self, path: Path, manifest: Manifest, generation_hash: str) -> None:
        self.path, self.manifest, self.generation_hash, self._folder = path, manifest, generation_hash, folder_of(path)
        counts = manifest.counts
        codes, users = counts.codes, counts.users
        self.num_codes, self.num_items, self.num_users, self.num_postings = codes, counts.items, users, counts.postings
        self.shared_heads = manifest.shared_heads
        self.model_hash, self.codebook_hash = manifest.model_hash, manifest.codebook_hash
        self.code_offsets = self._offsets("code_offsets", codes, self.num_postings)
        self.codes = self._folder.array("codes", np.uint32, (codes, 1 + manifest.M))
        self.item_numbers = self._folder.array("item_numbers", np.uint32, (self.num_postings,))
        self.scores = self._folder.array("scores", np.uint16, (self.num_postings,))
        self.user_code_offsets = self._offsets("user_code_offsets", users, counts.user_codes)
        self.user_codes = self._folder.array("user_codes", np.uint32, (counts.user_codes,))
        self.user_boosts = self._folder.array("user_boosts", np.float32, (counts.user_codes,))
        self.user_seen_offsets = self._offsets("user_seen_offsets", users, counts.user_seen)
        self.user_seen_items = self._folder.array("user_seen", np.uint32, (counts.user_seen,))
        self.item_ids = self._table("item_ids", self.num_items)
        self.item_docs = self._table("item_docs", self.num_items, searchable=False)
        self.user_ids = self._table("user_ids", users)
        self.folded = self._folded_counts()
        self.user_times = np.broadcast_to(np.int64(NO_TIME), (users,))
        self._updates: tuple[np.ndarray, np.ndarray] | None = None
        if manifest.updates:
            items = self._folder.array("item_updates", np.uint32, (self.num_items,))
            self._updates = items, self._folder.array("user_updates", np.uint32, (users,))
            self.user_times = self._folder.array("user_times", np.int64, (users,))

    @classmethod
    def open(cls, path: Path | str, verify: bool = False) -> Artifact:
        """Open an artifact. Raises `ArtifactError` when it is missing, foreign, of another version or damaged.

        Sizes, and what users' numbers and offsets point to, are always checked; `verify=True` also recomputes every file's
        SHA-256 and checks the postings' numbers. One that is replaced meanwhile is opened again: all files are of one artifact.
        """
        path = Path(path)
        for _ in range(ATTEMPTS):
            content = content_of(path)
            try:
                artifact = cls._of_manifest(path, content, verify)
            except ArtifactError:
                if content_of(path) == content:
                    raise
            else:
                if content_of(path) == content:
                    return artifact
        raise ArtifactError(f"{path} was replaced {ATTEMPTS} times while it was opened; try again")

    @classmethod
    def _of_manifest(cls, path: Path, content: bytes, verify: bool) -> Artifact:
        """The artifact whose manifest.json is `content`, its files checked."""
        manifest, generation = parsed(path, content)
        try:
            folder_of(path).check(manifest.files, verify)
            artifact = cls(path, manifest, generation)
        except (KeyError, ValueError, OSError) as error:
            raise ArtifactError(f"{path / 'manifest.json'} is damaged ({error!r}); {REBUILD}") from error
        artifact._check_ranges(verify)
        return artifact

    def _offsets(self, name: str, rows: int, last: int) -> np.ndarray:
        """CSR offsets, uint64 [rows + 1], that end at `last`."""
        offsets = self._folder.array(name, np.uint64, (rows + 1,))
        end = int(offsets[-1]) if len(offsets) else None
        if end != last:
            raise ArtifactError(f"{self.path / name}.npy is damaged: it ends at {end}, not {last}; {REBUILD}")
        return offsets

    def _table(self, name: str, rows: int, searchable: bool = True) -> StringTable:
        try:
            table = StringTable.open(self.path, name, searchable)
        except DataError as error:
            raise ArtifactError(f"{error}; {REBUILD}") from error
        if len(table) != rows:
            raise ArtifactError(f"{self.path} is damaged: {name} has {len(table)} rows, not {rows}; {REBUILD}")
        return table

    def _folded_counts(self) -> dict[str, dict[str, np.ndarray]]:
        found: dict[str, dict[str, np.ndarray]] = {}
        for file in self.manifest.files:
            if file.startswith("folded_"):
                table, part, _ = file.removeprefix("folded_").split(".")
                array = self._folder.array(f"folded_{table}.{part}", FOLDED_PARTS[part], None)
                found.setdefault(table, {})[part] = array
        return found

    def _check_ranges(self, postings: bool) -> None:
        """Raise `ArtifactError` for users' numbers and offsets out of range; of postings, which are many, where asked."""
        for name, numbers, bound in (
            ("codes", self.codes[of_items(self.codes), 1:2], self.num_items),
            ("user_codes", self.user_codes, self.num_codes),
            ("user_seen", self.user_seen_items, self.num_items),
        ):
            if len(numbers) and int(numbers.max()) >= bound:
                raise ArtifactError(f"{self.path} is damaged: {name} holds {numbers.max()} of {bound}; {REBUILD}")
        if postings:
            self.require_items(self.item_numbers)
        if postings and not np.isfinite(self.user_boosts).all():
            raise ArtifactError(f"{self.path} is damaged: user_boosts holds what is no number; {REBUILD}")
        for name in ("code_offsets", "user_code_offsets", "user_seen_offsets"):
            offsets = getattr(self, name)
            if int(offsets[0]) != 0 or (offsets[1:] < offsets[:-1]).any():
                raise ArtifactError(f"{self.path} is damaged: {name} does not rise from 0; {REBUILD}")

    @property
    def splits_seen(self) -> tuple[str, ...]:
        """The held-out splits whose answers had a say in the postings: folded in, or looked at by a cut by traffic."""
        config = self.manifest.config
        by_cut = config.cut == "traffic"
        cut = {"valid": by_cut, "test": by_cut and config.traffic_test}
        sources = {source.name for update in self.manifest.updates for source in update.sources}
        return tuple(split for split, looked in cut.items() if looked or source_of(split) in sources)

    def last_updates(self) -> tuple[np.ndarray, np.ndarray]:
        """The number of the update that changed each item's postings and each user last, uint32 [I] and [U]; 0 for none.

        Update n is entry n - 1 of the manifest's `updates`.
        """
        if self._updates is None:
            return np.zeros(self.num_items, dtype=np.uint32), np.zeros(self.num_users, dtype=np.uint32)
        return self._updates

    def term(self, code_row: int) -> str:
        """The name of a code in an index, such as `12_201`."""
        return term_of(self.codes[code_row], self.shared_heads)

    @functools.cached_property
    def term_rows(self) -> TermRows:
        """The rows of codes by term."""
        return TermRows(self.codes, self.shared_heads)

    def code_row(self, term: str) -> int | None:
        """The row of a term's code, or None when the artifact has no such code."""
        return self.term_rows.find(term)

    def postings(self, code_row: int) -> tuple[np.ndarray, np.ndarray]:
        """A code's item numbers uint32 [n], ascending, and their grid values uint16 [n]."""
        start, stop = int(self.code_offsets[code_row]), int(self.code_offsets[code_row + 1])
        return self.item_numbers[start:stop], self.scores[start:stop]

    def user_clauses(self, user_row: int) -> list[Clause]:
        """The codes of a user and their boosts."""
        start, stop = int(self.user_code_offsets[user_row]), int(self.user_code_offsets[user_row + 1])
        rows, boosts = self.user_codes[start:stop], self.user_boosts[start:stop]
        return [Clause(self.term(int(row)), float(boost)) for row, boost in zip(rows, boosts, strict=True)]

    def user_seen(self, user_row: int) -> np.ndarray:
        """The numbers of the items that a user has seen, oldest first, uint32 [n]."""
        return self.user_seen_items[int(self.user_seen_offsets[user_row]) : int(self.user_seen_offsets[user_row + 1])]

    @functools.cached_property
    def item_ranks(self) -> np.ndarray:
        """Each item's place in byte order of the identifiers, uint32 [I]: what ties go by."""
        order = np.asarray(self.item_ids.order())
        ranks = np.empty(len(order), dtype=np.uint32)
        ranks[order] = np.arange(len(order), dtype=np.uint32)
        return ranks

    @functools.cached_property
    def postings_by_item(self) -> np.ndarray:
        """How many postings each item has, int64 [I]. One pass over all of them, the first time."""
        self.require_items(self.item_numbers)
        return count_by_item(self.item_numbers, self.num_items)

    def require_items(self, numbers: np.ndarray) -> None:
        """Raise `ArtifactError` where item numbers of postings name items that are not there."""
        if len(numbers) and int(numbers.max()) >= self.num_items:
            raise ArtifactError(
                f"{self.path} is damaged: item_numbers hold {numbers.max()} of {self.num_items}; {REBUILD}"
            )

    def popular(self, count: int) -> list[str]:
        """The ids of the items that most users have seen, most first, ties by the ids' bytes; at most `count`.

        A user counts once, however often they have met an item.
        """
        seen = count_rows_by_item(self.user_seen_offsets, self.user_seen_items, self.num_items)
        items = np.flatnonzero(seen)
        best = items[np.lexsort((self.item_ranks[items], -seen[items]))][:count]
        return [self.item_ids[int(item)] for item in best]

    def item_doc(self, item: int) -> dict[str, Any]:
        """`{"title": str or None, "attributes": {name: value or [values]}}` of an item number."""
        document = read_document(self.item_docs, item)
        if document is None:
            raise ArtifactError(
                f"{self.path} is damaged: item_docs holds no document for item number {item}; {REBUILD}"
            )
        return document

    def by_item(self, block: int = BLOCK_POSTINGS) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Every item in order, also those without postings: number, code rows uint32 [n] ascending, grid uint16 [n]."""
        for part in transpose(self.code_offsets, self.item_numbers, self.scores, self.num_items, block):
            for i in range(len(part)):
                start, stop = part.offsets[i], part.offsets[i + 1]
                yield part.first + i, part.code_rows[start:stop], part.scores[start:stop]
