"""Encoding on the CPU, histories → codes: torch as serving does it, and the exported encoder (ONNX Runtime and numpy).

    python benchmarks/speed_encode.py

A model with random weights, or `--checkpoint`, encodes made-up histories of a length, alone and in batches. Both systems take
turns in one process, after warming up; a time is from item numbers to a user's merged codes. *Tokens* is the part up to Eq. 6.
As in serving, torch's side finds the codes of a single history by numpy, those of a batch by torch.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from command import BenchCommand, Numbers
from report import markdown_table
from speed import write_speed
from threadpoolctl import threadpool_limits
from timing import Times

from sparcode_es import csr
from sparcode_es.codes import UserCodes
from sparcode_es.config import load_config
from sparcode_es.models.encode import encode_tokens
from sparcode_es.models.sparcode import SparCode
from sparcode_es.serving.encoder import encode_histories
from sparcode_es.serving.export import export_encoder
from sparcode_es.serving.exported import ExportedEncoder
from sparcode_es.tables import StringTable
from sparcode_es.training.checkpoint import read_sparcode

COLUMNS = ("histories", "length", "torch p50, ms", "p95", "p99", "of it tokens", "exported p50, ms", "p95", "p99",
           "of it tokens", "ratio", "exported, histories/s", "same codes")  # fmt: skip
ROUNDS = 5
Encode = Callable[[np.ndarray, np.ndarray], Any]


def synthetic(items: int, dim: int, layers: int, codes: int, seed: int) -> tuple[SparCode, StringTable]:
    """A model of the default kind with random weights, and its item ids."""
    torch.manual_seed(seed)
    overrides = {"tokenizer.dim": dim, "tokenizer.layers": layers, "quantizer.codes": codes}
    return SparCode(load_config(overrides=overrides), items).eval(), StringTable.build(str(i) for i in range(items))


def take_turns(systems: dict[str, Encode], histories: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, list[float]]:
    """Milliseconds of each system for each batch, a fifth of the batches at a time, after a tenth to warm up."""
    for encode in systems.values():
        for batch in histories[: max(1, len(histories) // 10)]:
            encode(*batch)
    times: dict[str, list[float]] = {name: [] for name in systems}
    for part in np.array_split(np.arange(len(histories)), ROUNDS):
        for name, encode in systems.items():
            for place in part.tolist():
                began = time.perf_counter()
                encode(*histories[place])
                times[name].append(1000 * (time.perf_counter() - began))
    return times


def same_codes(found: UserCodes, expected: UserCodes) -> float:
    """The share of all (user, code) pairs of two encoders that both have."""
    pairs = [
        {(user, *row) for user, row in zip(csr.owners(codes.offsets).tolist(), codes.codes.tolist(), strict=True)}
        for codes in (found, expected)
    ]
    return len(pairs[0] & pairs[1]) / max(1, len(pairs[0] | pairs[1]))


def measure(
    model: SparCode, exported: ExportedEncoder, batch: int, length: int, repeats: int, seed: int
) -> dict[str, Any]:
    """One row: both systems on the same batches of made-up histories."""
    rng = np.random.default_rng(seed)
    offsets = length * np.arange(batch + 1)
    histories = [(offsets, rng.integers(0, model.num_items, batch * length).astype(np.uint32)) for _ in range(repeats)]
    systems: dict[str, Encode] = {
        "torch": lambda *each: encode_histories(model, *each, few=batch == 1),
        "torch_tokens": lambda *each: encode_tokens(model, *each),
        "exported": exported.encode,
        "exported_tokens": exported.tokens,
    }
    times = {name: asdict(Times.of(found)) for name, found in take_turns(systems, histories).items()}
    shares = [same_codes(exported.encode(*each), encode_histories(model, *each)) for each in histories[:20]]
    return {"batch": batch, "length": length, **times, "same_codes": float(np.mean(shares))}


def line_of(row: dict[str, Any]) -> list[str]:
    """A row of the table."""
    cells = [str(row["batch"]), str(row["length"])]
    for system in ("torch", "exported"):
        cells += [f"{row[system][f'p{p}_ms']:.3f}" for p in (50, 95, 99)]
        cells.append(f"{row[f'{system}_tokens']['p50_ms']:.3f}")
    ratio, p50 = row["torch"]["p50_ms"] / row["exported"]["p50_ms"], row["exported"]["p50_ms"]
    return [*cells, f"{ratio:.1f} ×", f"{1000 * row['batch'] / p50:,.0f}", f"{100 * row['same_codes']:.2f} %"]


@click.command(
    cls=BenchCommand, epilog="\b\nExample:\n  python benchmarks/speed_encode.py --checkpoint runs/beauty/model.pt"
)
@click.option("--checkpoint", type=click.Path(path_type=Path), help="A trained model instead of a random one.")
@click.option("--items", default=54_542, show_default=True, help="Items of the random model.")
@click.option("--dim", default=64, show_default=True)
@click.option("--layers", default=2, show_default=True, help="Blocks of self-attention.")
@click.option("--codes", default=1024, show_default=True, help="N, entries of the codebook.")
@click.option(
    "--lengths", type=Numbers(), default="10,50", show_default=True, help="Events of a history, commas between."
)
@click.option(
    "--batches",
    type=Numbers(),
    default="1,32,256",
    show_default=True,
    help="Histories encoded at once, commas between.",
)
@click.option(
    "--repeats", default=300, show_default=True, help="Single histories timed; a batch of n at least ten times."
)
@click.option("--threads", default=1, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path(__file__).parent / "results", show_default=True)
def main(
    checkpoint: Path | None,
    lengths: tuple[int, ...],
    batches: tuple[int, ...],
    repeats: int,
    threads: int,
    out: Path,
    **shape: int,
) -> None:
    """Time histories → codes on the CPU, by torch and by the exported encoder."""
    torch.set_num_threads(threads)
    model, item_ids = synthetic(**shape) if checkpoint is None else read_sparcode(checkpoint)
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(threads):
        path = Path(folder) / "encoder.onnx"
        export_encoder(model, item_ids, path)
        exported = ExportedEncoder.open(path, threads)
        size = path.stat().st_size
        rows = [
            measure(model, exported, batch, length, max(10, repeats // batch), shape["seed"])
            for batch, length in itertools.product(batches, lengths)
        ]
    what = "random weights" if checkpoint is None else str(checkpoint)
    body = (
        f"{markdown_table(COLUMNS, [line_of(row) for row in rows])}\n\n{(__doc__ or '').partition('encode.py')[2].strip()}\n\n"
        f"Here: {what}, {model.num_items:,} items, D {model.config.tokenizer.dim}, {model.config.tokenizer.layers} layers, "
        f"{model.config.quantizer.codes_per_token} of {model.config.quantizer.codes:,} codes a token, {threads} thread(s); the "
        f"exported file has {size / 1e6:.1f} MB. Goal: one history in less than 2 ms."
    )
    write_speed(out, "speed-encode", "Encoding a history on the CPU", body, {"rows": rows, "file_bytes": size}, None)


if __name__ == "__main__":
    main()
