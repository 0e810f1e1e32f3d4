"""A small model, its data folder and its artifact, and logs of later events. Not a test module."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from sparcode_es.config import Config, ItemCodesConfig, PostingsConfig, QuantizerConfig, ScorerConfig, TokenizerConfig
from sparcode_es.data.dataset import Dataset, Sequences
from sparcode_es.data.features import SavedFeature
from sparcode_es.data.manifest import LogSource
from sparcode_es.data.sequences import read_sequences
from sparcode_es.data.write import write_dataset
from sparcode_es.models.memory import Memory
from sparcode_es.models.sparcode import SparCode
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.build import build_postings
from sparcode_es.postings.folded import memories
from sparcode_es.serving.encoder import HistoryEncoder, encode_histories
from sparcode_es.serving.fresh import count_pairs, update_from_data
from sparcode_es.serving.new_events import Log, checked_fold
from sparcode_es.serving.pipeline import build_from_data
from sparcode_es.training.build import build_model
from sparcode_es.training.checkpoint import save_checkpoint

ITEMS = 18
CONFIG = Config(
    tokenizer=TokenizerConfig(dim=8, max_length=6, layers=1),
    quantizer=QuantizerConfig(codes=16, codes_per_token=3),
    scorer=ScorerConfig(hidden=(6,)),
    item_codes=ItemCodesConfig(latest=3, decay=0.5, window=4, window_decay=0.6),
)
PRODUCT = replace(
    CONFIG,
    quantizer=replace(CONFIG.quantizer, codebooks=4, codes=16, assignment="nearest", codes_per_token=1),
    scorer=replace(CONFIG.scorer, memory=False),
)
"""M ≥ 2: an artifact keeps the codes of its users alone."""
Histories = dict[str, list[int]]


def text_of(histories: Histories) -> str:
    return "".join(f"{user} {' '.join(f'i{item}' for item in items)}\n" for user, items in histories.items() if items)


def log_of(histories: Histories, name: str = "new.txt") -> Log:
    content = text_of(histories).encode()
    return Log(name, hashlib.sha256(content).hexdigest(), read_sequences(content, name, "lines"))


def random_world(seed: int) -> tuple[Histories, Histories]:
    """Old and new events of some users; the first user has met every item, the last ones are new."""
    rng = np.random.default_rng(seed)
    old = {"u0": list(range(ITEMS))} | {
        f"u{u}": rng.integers(ITEMS, size=rng.integers(1, 9)).tolist() for u in range(1, 9)
    }
    new = {f"u{u}": rng.integers(ITEMS, size=rng.integers(0, 4)).tolist() for u in range(2, 12)}
    return old, {user: items for user, items in new.items() if items}


def joined(*parts: Histories) -> Histories:
    users = dict.fromkeys(user for part in parts for user in part)
    return {user: [item for part in parts for item in part.get(user, [])] for user in users}


def sequences_of(histories: Histories, dataset: Dataset) -> Sequences:
    """The histories in item numbers; users are numbered as an artifact does: the data's, then new ones as they come."""
    known = [user for user in dataset.user_ids if user in histories]
    users = [*known, *(user for user in histories if dataset.user_ids.find(user) is None)]
    rows = [dataset.user_ids.find(user) for user in known] + [
        dataset.num_users + i for i in range(len(users) - len(known))
    ]
    items = [dataset.item_ids.find(f"i{item}") for user in users for item in histories[user]]
    offsets = np.cumsum([0, *(len(histories[user]) for user in users)])
    return Sequences(offsets.astype(np.uint64), np.array(items, dtype=np.uint32), np.array(rows, dtype=np.uint32))


def remembering(
    model: SparCode,
    counted: Sequences,
    of_item: np.ndarray,
    weights: tuple[float, float] = (2.0, 1.5),
    trained: SparCode | None = None,
) -> SparCode:
    """The model with fixed random weights, and every pair of the given sequences remembered, with the n(k) of `trained`, and
    repeat codes."""
    torch.nn.init.normal_(model.eval().scorer.head.output.weight)
    model.untie_items()
    both = {"codes": model.memory, "items": model.item_memory}
    filled = {name: memory for name, memory in both.items() if memory is not None}
    for memory in filled.values():
        memory.weight.fill_(1.0)
        memory.of_item = torch.from_numpy(of_item)
    counts = count_pairs(model, counted, np.ones(len(counted.items), dtype=bool))
    sums = {} if trained is None else {name: memory.of_row.numpy() for name, memory in memories(trained).items()}
    for name, memory in filled.items():
        memory.fit(counts[name].astype(np.float64), of_item, sums.get(name))
        memory.weight.fill_(dict(zip(both, weights, strict=True))[name])
    if model.item_memory is not None:
        model.item_memory.mix(*_ridge(model.item_memory, None if trained is None else trained.item_memory))
        assert model.repeat is not None
        model.repeat.weight.fill_(0.5)
    return model


def _ridge(memory: Memory, trained: Memory | None) -> tuple[np.ndarray, float]:
    """Random ridge weights of a memory's pairs, or those of `trained`, 0 for the pairs that it has not; and their share."""
    if trained is None:
        return np.random.default_rng(0).random(len(memory.counts), dtype=np.float32), 0.25
    known = trained.trained()
    known.data = trained.ridge.numpy()
    rows, columns = memory.trained().nonzero()
    return np.asarray(known[rows, columns]).ravel(), float(trained.share)


class World:
    """Data folder, model, checkpoint and artifact of some histories, in a folder."""

    def __init__(
        self,
        folder: Path,
        old: Histories,
        config: PostingsConfig | None = None,
        weights: tuple[float, float] = (2.0, 1.5),
        model_config: Config = CONFIG,
        features: Sequence[SavedFeature] = (),
    ) -> None:
        self.folder, self.config = folder, model_config
        events, source = (
            read_sequences(text_of(old).encode(), "old.txt", "lines"),
            LogSource("old.txt", "", "sequences"),
        )
        self.dataset = write_dataset(folder / "data", "world", events, source, features=features)
        histories = self.dataset.full_histories()
        self.of_item = np.bincount(histories.items, minlength=ITEMS)
        self.model = remembering(self.blank(), histories, self.of_item, weights)
        self.checkpoint = folder / "model.pt"
        data = str(self.dataset.path)
        save_checkpoint(self.checkpoint, self.model, self.dataset.item_ids, data, {}, self.dataset.events_hash)
        self.artifact = build_from_data(self.encoder(), self.dataset, folder / "postings", config)

    def blank(self) -> SparCode:
        """The model before it remembers anything, the same each time."""
        torch.manual_seed(0)
        model = build_model(self.config, self.dataset)
        assert isinstance(model, SparCode)
        return model

    def encoder(self) -> HistoryEncoder:
        return HistoryEncoder.from_checkpoint(self.checkpoint)

    def update(self, artifact: Artifact, log: Log | None, out: str = "fresh", splits: tuple[str, ...] = ()) -> Artifact:
        fold = checked_fold(artifact, self.dataset, self.folder / out, log, splits)  # type: ignore[arg-type]
        return update_from_data(self.encoder(), fold)


def rebuilt(world: World, *parts: dict[str, list[int]]) -> Artifact:
    """A full build: `Memory.fit` on the counts of all histories, n(k) and n(c) as in training."""
    whole = sequences_of(joined(*parts), world.dataset)
    model = remembering(world.blank(), whole, world.of_item, trained=world.model)
    new = [user for user in joined(*parts) if world.dataset.user_ids.find(user) is None]
    return build_postings(
        model,
        world.folder / "rebuilt",
        item_ids=world.dataset.item_ids,
        item_docs=(world.dataset.item_doc(item) for item in range(ITEMS)),
        user_ids=type(world.dataset.user_ids).build([*world.dataset.user_ids, *new]),
        user_codes=encode_histories(model, whole.offsets, whole.items, whole.users),
        user_seen=whole,
    )


class Updates:
    """An artifact, two updates of it one after the other, and one of it that the others know nothing of."""

    def __init__(self, folder: Path, model_config: Config = CONFIG) -> None:
        old, new = random_world(7)
        world = World(folder, old, model_config=model_config)
        self.base = world.artifact
        self.first = world.update(self.base, log_of({"u1": [3, 5], "fresh": [4, 7]}), "first")
        self.second = world.update(self.first, log_of(new), "second")
        self.other = world.update(self.base, log_of({"u2": [9]}), "other")
