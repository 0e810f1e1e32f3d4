"""Histories → tokens → codes, outside training: in batches, sorted by length, without gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from sparcode_es.errors import ConfigError
from sparcode_es.models.base import TokenModel
from sparcode_es.models.batches import no_histories
from sparcode_es.models.features import FeatureTables
from sparcode_es.models.few import codes_of, padded_histories

if TYPE_CHECKING:
    from sparcode_es.models.sparcode import SparCode


def histories_of(offsets: np.ndarray, items: np.ndarray, rows: np.ndarray, max_length: int) -> tuple[Tensor, Tensor]:
    """See `padded_histories`."""
    histories, positions = padded_histories(offsets, items, rows, max_length)
    return torch.from_numpy(histories), torch.from_numpy(positions)


@torch.inference_mode()
def encode_tokens(
    model: TokenModel, offsets: np.ndarray, items: np.ndarray, users: np.ndarray | None = None, batch_size: int = 1024
) -> Tensor:
    """Tokens of the latest events of n histories in CSR form, [n, K, D] on the CPU.

    users: rows of the user features, int64 [n]; -1, or a row behind the last, for a user whose features are not known; None
    means that for all. Raises `ConfigError` for an empty history, unless the tokenizer reads the user's features alone.
    """
    tokenizer = model.tokenizer
    device, config = tokenizer.item_embedding.weight.device, tokenizer.config
    n = len(offsets) - 1
    reads = config.source == "history"
    if reads and (np.diff(offsets.astype(np.int64)) == 0).any():
        raise ConfigError("this model reads histories, and a user has none; train with tokenizer.source = 'features'")
    rows = np.full(n, -1, dtype=np.int64) if users is None else _known_rows(tokenizer, users)
    tokens = torch.empty(n, config.tokens, config.dim)
    was_training = tokenizer.training
    tokenizer.eval()
    for part in _by_length(offsets, batch_size):
        histories, positions = (
            histories_of(offsets, items, part, config.max_length) if reads else no_histories(len(part))
        )
        got = model.tokens(histories.to(device), positions.to(device), torch.from_numpy(rows[part]).to(device))
        tokens[torch.from_numpy(part)] = got.float().cpu()
    tokenizer.train(was_training)
    return tokens


def _known_rows(tokenizer: nn.Module, users: np.ndarray) -> np.ndarray:
    """The users' rows of the tokenizer's tables, int64 [n], -1 for those that came after its data and have none."""
    tables = [module for module in tokenizer.modules() if isinstance(module, FeatureTables) and module.side == "user"]
    rows = users.astype(np.int64)
    return np.where(rows < max((each.rows for each in tables), default=0), rows, -1)


def _by_length(offsets: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    order = np.argsort(np.diff(offsets.astype(np.int64)), kind="stable")
    return (order[i : i + batch_size] for i in range(0, len(order), batch_size))


@torch.inference_mode()
def assign_codes(
    model: SparCode, tokens: Tensor, observe: bool = False, block: int = 8192
) -> tuple[np.ndarray, np.ndarray]:
    """Tokens [n, K, D] → codes uint32 [n, K·R, 1 + M] (head set, sub-codes) and boosts float32 [n, K·R].

    observe: count them for usage and perplexity.
    """
    device = model.bias_parameter.device
    _n, K, _ = tokens.shape
    codes, boosts = [], []
    for part in tokens.split(block):
        assignment = model.quantizer.assign(part.to(device))
        if observe:
            model.quantizer.observe(assignment)
        R, M = assignment.codes.shape[2:]
        head = torch.zeros(K, dtype=torch.int64) if model.shared_heads else torch.arange(K)
        head = head.to(device).view(1, K, 1, 1).expand(len(part), K, R, 1)
        codes.append(torch.cat([head, assignment.codes], dim=-1).reshape(len(part), K * R, 1 + M).cpu())
        boosts.append(assignment.boosts.reshape(len(part), K * R).cpu())
    if not codes:
        return np.zeros((0, K, 1 + model.config.quantizer.codebooks), np.uint32), np.zeros((0, K), np.float32)
    return torch.cat(codes).numpy().astype(np.uint32), torch.cat(boosts).numpy().astype(np.float32)


def assign_few_codes(model: SparCode, tokens: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """`assign_codes` by numpy, for a few tokens: torch's calls would take longer than their work. The last digits of a boost
    may differ, so that what is stored comes from `assign_codes` alone."""
    config = model.config.quantizer
    steps = config.codes_per_token if config.assignment == "pursuit" else None
    return codes_of(tokens.numpy(), model.quantizer.codebooks.cpu().numpy(), steps)
