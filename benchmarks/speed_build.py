"""`postings build` against the plain loops: seconds, pairs a second, peak memory.

    python benchmarks/speed_build.py --items 54542,200000,1000000

A model with random weights scores C codes for all items; the bias cuts the stated share of the pairs. The build is timed
whole: scoring, pruning, sorting, writing, checksums. Beside it stand two loops over the same model, as one would write them
first, which score and threshold and write nothing: *pair by pair* looks up code vector and item tokens of every pair of a batch;
*code by code* makes the tokens of a block of items once, and multiplies each code with all of them. Each runs over a sample of
the items, in batches of several sizes (pairs, or items) of which the fastest counts, and its time is extrapolated in proportion
to the items.
"""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import altair as alt
import click
import numpy as np
import pandas as pd
import torch
from command import BenchCommand, Numbers
from environment import peak_mib
from pictures import COLOURS, styled
from report import markdown_table
from speed import child, seconds, write_speed
from torch.nn import functional as F

from sparcode_es.codes import UserCodes
from sparcode_es.config import PostingsConfig, load_config
from sparcode_es.models.scorers import InnerPDNN
from sparcode_es.models.sparcode import SparCode
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.build import build_postings
from sparcode_es.tables import StringTable
from sparcode_es.training.trainer import pick_device

BATCHES = {"pair_by_pair": (1024, 4096, 16_384, 65_536), "code_by_code": (256, 1024, 4096, 16_384)}
"""Pairs, or items, that a plain loop takes at once."""
COLUMNS = ("items", "D", "K_c", "M", "pair by pair, s", "code by code, s", "build, s", "ratio to pairs", "ratio to codes",
           "million pairs/s", "postings", "peak MiB", "of it model")  # fmt: skip


def synthetic(task: dict[str, Any]) -> tuple[SparCode, np.ndarray]:
    """A model with random weights, and the codes that users have: all of M = 1, random ones of 256² for M = 2."""
    M, codes = task["codebooks"], task["codes"]
    overrides = {
        "tokenizer.dim": task["dim"],
        "tokenizer.layers": 1,
        "tokenizer.item_tokens": task["item_tokens"],
        "quantizer.codebooks": M,
        "quantizer.codes": codes if M == 1 else 256,
        "quantizer.assignment": "nearest",
        "scorer.hidden": [task["hidden"]],
        "scorer.memory": False,
        "item_codes.latest": 0,
    }
    torch.manual_seed(task["seed"])
    model = SparCode(load_config(overrides=overrides), task["items"]).eval()
    for parameter in model.scorer.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    rows = model.all_codes()
    if len(rows) > codes:
        rows = rows[np.sort(np.random.default_rng(task["seed"]).choice(len(rows), codes, replace=False))]
    return model, rows


def bias_of(model: SparCode, codes: np.ndarray, sparsity: float, sample: int = 256) -> float:
    """b̃ of Eq. 15 that cuts this share of the pairs of a sample of the items."""
    scores = model.score_codes(codes, slice(0, min(sample, model.num_items)))
    return -float(np.quantile(scores, sparsity))


@torch.inference_mode()
def pair_by_pair(model: SparCode, codes: np.ndarray, items: int, bias: float, batch: int) -> int:
    """Eq. 9 and 15 for batches of pairs; returns how many are positive."""
    vectors, kept = model.vectors_of(codes), 0
    for pairs in torch.arange(len(codes) * items, device=vectors.device).split(batch):
        code, tokens = vectors[pairs // items], model.items(pairs % items)  # [B, D], [B, K_c, D]
        kept += _positive(model, code.unsqueeze(1), tokens, bias)
    return kept


@torch.inference_mode()
def code_by_code(model: SparCode, codes: np.ndarray, items: int, bias: float, batch: int) -> int:
    """The same for each code and a block of items, whose tokens are made once."""
    vectors, kept = model.vectors_of(codes), 0
    for block in torch.arange(items, device=vectors.device).split(batch):
        tokens = model.items(block)
        for code in vectors:
            kept += _positive(model, code, tokens, bias)
    return kept


def _positive(model: SparCode, code: torch.Tensor, tokens: torch.Tensor, bias: float) -> int:
    """ReLU(S + b) of pairs: code broadcasts to the tokens [B, K_c, D]; how many are positive."""
    scorer = model.scorer
    assert isinstance(scorer, InnerPDNN)
    products = code * tokens
    scores = scorer.head(F.linear(products.flatten(1), scorer.weight.flatten(1), scorer.bias))
    scores = F.relu(scores + model.log_scale.exp() * products[:, 0].sum(-1) + bias)
    return len(scores.nonzero())


PLAIN: dict[str, Callable[[SparCode, np.ndarray, int, float, int], int]] = {
    "pair_by_pair": pair_by_pair,
    "code_by_code": code_by_code,
}


class _Nothing:
    """Seen items of C users."""

    def __init__(self, users: int) -> None:
        self.offsets, self.items = np.zeros(users + 1, dtype=np.uint64), np.zeros(0, dtype=np.uint32)


def build(model: SparCode, codes: np.ndarray, bias: float, out: Path) -> Artifact:
    """The artifact of these codes, each of which one user has."""
    users = len(codes)
    return build_postings(
        model,
        out,
        item_ids=StringTable.build(str(item) for item in range(model.num_items)),
        item_docs=({"title": None, "attributes": {}} for _ in range(model.num_items)),
        user_ids=StringTable.build(str(user) for user in range(users)),
        user_codes=UserCodes(np.arange(users + 1, dtype=np.uint64), codes, np.ones(users, dtype=np.float32)),
        user_seen=_Nothing(users),
        config=PostingsConfig(bias=bias, observed_codes_only=True),
    )


def run_child(task: dict[str, Any]) -> dict[str, Any]:
    """One of the three, in this process."""
    torch.set_num_threads(task["threads"])
    model, codes = synthetic(task)
    model.to(task["device"])
    before, bias = peak_mib(), bias_of(model, codes, task["sparsity"])
    if task["what"] == "build":
        with tempfile.TemporaryDirectory() as folder:
            found: list[Artifact] = []
            took = seconds(lambda: found.append(build(model, codes, bias, Path(folder) / "postings")))
            return {"seconds": took, "postings": found[0].num_postings, "peak_mib": peak_mib(), "model_mib": before}
    sample, loop = min(task["sample"], model.num_items), PLAIN[task["what"]]
    batches = batch_sizes(task["what"], sample, len(codes))
    times = {batch: seconds(lambda: loop(model, codes, sample, bias, batch), 2) for batch in batches}  # noqa: B023
    best = min(times, key=lambda batch: times[batch])
    return {
        "seconds": times[best] * model.num_items / sample,
        "batch": best,
        "seconds_of_sample": times,
        "sampled_items": sample,
    }


def batch_sizes(what: str, items: int, codes: int) -> list[int]:
    """Those of a loop's batches that its sample of items fills, all of the sample where none is: no two are the same run."""
    whole = items * codes if what == "pair_by_pair" else items
    return [batch for batch in BATCHES[what] if batch <= whole] or [whole]


def measure(task: dict[str, Any]) -> dict[str, Any]:
    """The build and the plain loops of one size, each in a process of its own."""
    found = {what: child("speed_build.py", {**task, "what": what}, task["threads"]) for what in ("build", *PLAIN)}
    took = found["build"]["seconds"]
    ratios = {f"ratio_to_{what}": found[what]["seconds"] / took for what in PLAIN}
    return {**task, **found, **ratios, "pairs_per_second": task["items"] * task["codes"] / took}


def line_of(row: dict[str, Any]) -> list[str]:
    """A row of the table."""
    build = row["build"]
    return [
        f"{row['items']:,}", *(str(row[name]) for name in ("dim", "item_tokens", "codebooks")),
        *(f"{row[what]['seconds']:,.1f}" for what in ("pair_by_pair", "code_by_code", "build")),
        f"{row['ratio_to_pair_by_pair']:.1f} ×", f"{row['ratio_to_code_by_code']:.1f} ×",
        f"{row['pairs_per_second'] / 1e6:.1f}", f"{build['postings']:,}", f"{build['peak_mib']:,.0f}",
        f"{build['model_mib']:,.0f}",
    ]  # fmt: skip


def chart_of(rows: list[dict[str, Any]], title: str, subtitle: str) -> alt.TopLevelMixin:
    """Seconds against items, a panel a shape of the model."""
    names = {"pair_by_pair": "plain, pair by pair", "code_by_code": "plain, code by code", "build": "postings build"}
    frame = pd.DataFrame(
        {"items": row["items"], "seconds": row[what]["seconds"], "series": name,
         "shape": f"D {row['dim']}, K_c {row['item_tokens']}, M {row['codebooks']}"}
        for row in rows for what, name in names.items()
    )  # fmt: skip
    colour = alt.Color("series:N", title=None, scale=alt.Scale(domain=list(names.values()), range=COLOURS[:3]),
                       legend=alt.Legend(orient="bottom"))  # fmt: skip
    base = alt.Chart(frame, width=230, height=230).encode(
        alt.X("items:Q", scale=alt.Scale(type="log"), title="items (log scale)"),
        alt.Y("seconds:Q", scale=alt.Scale(type="log"), title="seconds (log scale)"),
        colour,
    )
    panels = (base.mark_line() + base.mark_point(filled=True, size=60)).facet(alt.Facet("shape:N"), columns=3)
    return styled(panels, title, subtitle)


@click.command(cls=BenchCommand, epilog="\b\nExample:\n  python benchmarks/speed_build.py --items 54542,200000,1000000")
@click.option(
    "--items", type=Numbers(), default="54542,200000,1000000", show_default=True, help="Sizes, commas between."
)
@click.option("--codes", default=1024, show_default=True, help="C, observed codes.")
@click.option("--dims", type=Numbers(), default="64,128", show_default=True, help="D, commas between.")
@click.option("--item-tokens", type=Numbers(), default="1,2", show_default=True, help="K_c, commas between.")
@click.option("--codebooks", type=Numbers(), default="1", show_default=True, help="M, commas between.")
@click.option("--hidden", default=16, show_default=True, help="Units of the hidden layer.")
@click.option("--sparsity", default=0.99, show_default=True, help="The share of the pairs that the bias cuts.")
@click.option(
    "--sample",
    default=max(BATCHES["code_by_code"]),
    show_default=True,
    help="Items that the plain loops run over; fewer leave the larger batches out.",
)
@click.option("--threads", default=1, show_default=True)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path(__file__).parent / "results", show_default=True)
@click.option("--child", "child_task", hidden=True)
def main(
    items: tuple[int, ...],
    dims: tuple[int, ...],
    item_tokens: tuple[int, ...],
    codebooks: tuple[int, ...],
    out: Path,
    child_task: str | None,
    **flags: Any,
) -> None:
    """Time `postings build` against Eq. 9 written as plain loops."""
    if child_task is not None:
        click.echo(json.dumps(run_child(json.loads(child_task))))
        return
    pick_device(flags["device"], "--device")
    shapes = itertools.product(codebooks, dims, item_tokens, items)
    rows = [measure({"items": n, "dim": D, "item_tokens": K_c, "codebooks": M, **flags}) for M, D, K_c, n in shapes]
    title = f"postings build: {flags['codes']:,} codes, {flags['threads']} thread" + "s" * (flags["threads"] > 1)
    body = (
        f"{markdown_table(COLUMNS, [line_of(row) for row in rows])}\n\n{(__doc__ or '').partition('1000000')[2].strip()}\n\n"
        f"Here: {flags['hidden']} hidden units, {100 * flags['sparsity']:g} % of the pairs cut, {flags['sample']:,} items "
        f"sampled, batches of {_sizes(rows, 'pair_by_pair')} pairs and of {_sizes(rows, 'code_by_code')} items. Peak memory is "
        "the child process's, with torch and model in it."
    )
    subtitle = (
        f"{100 * flags['sparsity']:g} % of the pairs cut; plain loops extrapolated from {flags['sample']:,} items"
    )
    write_speed(out, "speed-build", title, body, {"rows": rows}, chart_of(rows, title, subtitle))


def _sizes(rows: list[dict[str, Any]], what: str) -> str:
    """The batches that a loop was run with, of all rows."""
    return ", ".join(f"{batch:,}" for batch in sorted({int(b) for row in rows for b in row[what]["seconds_of_sample"]}))


if __name__ == "__main__":
    main()
