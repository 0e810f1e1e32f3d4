"""Later events → updated artifact, without training: new histories get new codes, and what followed what is counted on.

What changes: codes and seen items of the users with new events; the counts n(k, c) of every new pair of history and item
(see `sparcode_es.models.memory`), hence the postings of those pairs. An item that the model does not know has neither vectors
nor a number for an item code: its events are left out and counted. A user whom the data folder does not know has no features.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from sparcode_es.codes import UserCodes
from sparcode_es.data.dataset import Sequences
from sparcode_es.errors import DataError
from sparcode_es.models.encode import assign_codes, encode_tokens
from sparcode_es.models.sparcode import SparCode
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.folded import Counts, fold_counts, memories, read_counts, touched_codes
from sparcode_es.postings.manifest import EventSource, FoldedEvents
from sparcode_es.postings.update import Changes, require_same_model, update_postings
from sparcode_es.serving.encoder import HistoryEncoder, encode_histories
from sparcode_es.serving.new_events import Fold, longer_histories
from sparcode_es.training.build import load_user_features, require_same_items
from sparcode_es.training.memory import code_counts, item_counts


def update_from_data(encoder: HistoryEncoder, fold: Fold) -> Artifact:
    """Fold later events into an artifact with the model that it was built from, and write `fold.out`.

    Raises `MismatchError` when model, data and artifact do not belong together, `DataError` for events that the model was
    trained on, and what `update_postings` raises. The encoder's model has the new lifts afterwards.
    """
    model, artifact, dataset, new = encoder.model, fold.artifact, fold.dataset, fold.new
    require_same_model(artifact, model)
    require_same_items(encoder.item_ids, dataset)
    load_user_features(model, dataset)
    if learned := set(fold.splits) & model.config.training.learned_splits:
        raise DataError(
            f"the model of {artifact.path} was trained on the events of {' and '.join(sorted(learned))}, which cannot be folded "
            "in again"
        )
    histories, is_new = longer_histories(artifact, new.sequences)
    counts = added(count_pairs(model, histories, is_new), count_pairs(model, dataset.full_histories(), fold.held_out))
    total = added(read_counts(artifact, model), counts)
    fold_counts(model, total)
    events = FoldedEvents(
        sources=tuple(EventSource(name, digest) for name, digest in fold.sources),
        events=len(new.sequences.items) + int(fold.held_out.sum()),
        unknown_item_events=new.unknown_events,
        unknown_items=new.unknown_items,
        new_users=len(new.new_users),
        times=new.times,
    )
    users, codes = histories.users.astype(np.int64), _codes_of(model, histories)
    changes = Changes(
        touched_codes(model, counts), total, users, new.new_users, codes, histories, new.user_times, events
    )
    return update_postings(artifact, model, fold.out, changes)


def count_pairs(model: SparCode, histories: Sequences, counted: np.ndarray) -> Counts:
    """n(k, c) over the events of some histories that are `counted` (bool, one an event), each with the events before it."""
    found = {}
    for name, memory in memories(model).items():
        if name == "items":
            found[name] = item_counts(model.config.item_codes, histories, model.num_items, counted)
        else:
            found[name] = _code_pairs(model, histories, counted)
        found[name] = sparse.csr_matrix(found[name].astype(np.float32))
        assert found[name].shape == memory.shape
    return found


def _code_pairs(model: SparCode, histories: Sequences, counted: np.ndarray) -> sparse.csr_matrix:
    """n(k, c) of the quantizer's codes: each counted event with the codes of the history before it, as one would be asked.

    Codes of features alone need none: there a user's first event counts, too.
    """
    begins = histories.offsets[:-1].astype(np.int64)[histories.owners]
    if model.config.tokenizer.source == "history":
        counted = counted & (np.arange(len(counted)) > begins)
    places = np.flatnonzero(counted)
    if not len(places):
        return sparse.csr_matrix((model.num_possible_codes, model.num_items))
    before = histories.before(places, model.config.tokenizer.max_length)
    tokens = encode_tokens(model, before.offsets, before.items, before.users)
    return code_counts(model, *assign_codes(model, tokens), histories.items[places])


def _codes_of(model: SparCode, histories: Sequences) -> UserCodes:
    """The codes of the histories as they are now."""
    if not len(histories):
        M = model.config.quantizer.codebooks
        return UserCodes(np.zeros(1, np.uint64), np.zeros((0, 1 + M), np.uint32), np.zeros(0, np.float32))
    return encode_histories(model, histories.offsets, histories.items, histories.users)


def added(left: Counts, right: Counts) -> Counts:
    """The sums of two sets of counts."""
    return {name: sparse.csr_matrix(table + right[name]) for name, table in left.items()}
