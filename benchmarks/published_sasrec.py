"""The SASRec behind the best published figures on Amazon Beauty, rebuilt and measured as ours are.

    python benchmarks/published_sasrec.py --data data/beauty --seeds 0,1,2 --out runs/beauty/results

SASRec with a sampled softmax, by RecTools, is published there with recall@10 9.21 and ndcg@10 5.31, seen items left out
(Tikhonovich et al. 2025, arXiv 2508.06450; their settings for Beauty: one block, one head, 64 dimensions, dropout 0.2,
256 uniform negatives, learning rate 0.001). This is that model from its description: SASRec's block as its authors wrote it,
in which the residual begins at the normalised query and keys and values are the states as they are, places counted from the
latest item, a plain dot product, a start near zero. Unlike there a batch shares its negatives, 1,024 of them; validation is
at most 10,000 users; a history longer than 50 is learned from in windows, not by its end alone.

Two trainings a seed: one learns from what stands before the validation events, which choose its epoch by their criterion,
recall@10 with seen items left out; the other learns from the validation events too, for as many epochs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from command import BenchCommand, Numbers
from environment import command_line, describe_environment
from measuring import CaseMetrics, Measured, Run, measure, origins
from pictures import comparison
from report import write_files
from systems import data_and_seeds
from tables import quality_table, records_of_ours
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from sparcode_es.data.dataset import Cases, Dataset, ScoreFunction
from sparcode_es.errors import DataError
from sparcode_es.evaluation.ranking import VIEWS
from sparcode_es.models.batches import Windows
from sparcode_es.models.encode import histories_of
from sparcode_es.training.trainer import pick_device, sample_cases

METRICS = ("recall@10", "ndcg@10", "recall@50", "ndcg@50")
PUBLISHED = {"recall@10": 9.21, "ndcg@10": 5.31}
"""On Beauty, view `unseen`, per cent."""
WITHOUT, WITH = "trained before the validation events", "trained on the validation events too"
CASES_AT_ONCE = 512


@dataclass(frozen=True)
class Settings:
    """Of the published model, but for `negatives`, which one batch shares."""

    dim: int = 64
    dropout: float = 0.2
    max_length: int = 50
    batch_size: int = 128
    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.98)
    negatives: int = 1024


class Block(nn.Module):
    """SASRec's block as its authors wrote it, with one head."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        dim, self.dropout = settings.dim, settings.dropout
        self.attention = nn.MultiheadAttention(dim, 1, self.dropout, batch_first=True)
        self.norm_query, self.norm_mlp = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Dropout(self.dropout), nn.Linear(dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, L, D] → [B, L, D]."""
        future = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)
        query = self.norm_query(x)
        y = self.norm_mlp(query + self.attention(query, x, x, attn_mask=future, need_weights=False)[0])
        return y + F.dropout(self.mlp(y), self.dropout, self.training)


class PublishedSASRec(nn.Module):
    """Scores are dot products of a history's state with item embeddings."""

    def __init__(self, settings: Settings, num_items: int) -> None:
        super().__init__()
        self.settings = settings
        self.items = nn.Embedding(num_items, settings.dim)
        self.places = nn.Embedding(settings.max_length, settings.dim)
        self.block, self.norm = Block(settings), nn.LayerNorm(settings.dim)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_normal_(parameter)

    def forward(self, histories: Tensor, positions: Tensor) -> Tensor:
        """Histories int64 [B, L], padded on the right, and flat positions in them → states [P, D]."""
        B, L = histories.shape
        last = torch.zeros(B, dtype=torch.int64, device=histories.device)
        last = last.scatter_reduce(0, positions // L, positions % L, "amax").unsqueeze(1)
        ago = (last - torch.arange(L, device=histories.device)).clamp(min=0)
        x = F.dropout(self.items(histories) + self.places(ago), self.settings.dropout, self.training)
        states: Tensor = self.norm(self.block(x)).reshape(B * L, -1)[positions]
        return states

    def loss(self, states: Tensor, targets: Tensor) -> Tensor:
        """The softmax of each target int64 [P] among uniform negatives."""
        drawn = torch.randint(len(self.items.weight), (self.settings.negatives,), device=targets.device)
        own = (states * self.items(targets)).sum(-1, keepdim=True)
        others = (states @ self.items(drawn).T).masked_fill(drawn == targets.unsqueeze(1), -torch.inf)
        return F.cross_entropy(torch.cat([own, others], 1), torch.zeros_like(targets))

    @torch.inference_mode()
    def case_scores(self, cases: Cases) -> ScoreFunction:
        """Of the cases' histories."""
        self.eval()
        device, states = self.items.weight.device, []
        for rows in np.array_split(np.arange(len(cases)), -(-len(cases) // CASES_AT_ONCE)):
            found = histories_of(cases.history_offsets, cases.history_items, rows, self.settings.max_length)
            states.append(self(*(part.to(device) for part in found)))
        users, items = torch.cat(states), self.items.weight.detach()
        return lambda rows: (users[torch.from_numpy(rows).to(device)] @ items.T).cpu().numpy()


class Training:
    """One model and what it learns from."""

    def __init__(self, settings: Settings, dataset: Dataset, seed: int, with_validation: bool) -> None:
        torch.manual_seed(seed)
        self.dataset, self.device, self.seed, self.epoch = dataset, pick_device("auto"), seed, 0
        events = dataset.train_sequences(with_validation)
        self.windows = Windows(events.offsets, events.items, events.users, settings.max_length)
        if not len(self.windows):
            raise DataError(f"{dataset.path} has no training sequence of two events or more; nothing can be learned")
        self.model = PublishedSASRec(settings, dataset.num_items).to(self.device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), settings.learning_rate, settings.betas, fused=True)

    def run_epoch(self) -> None:
        """Learn from every position once."""
        self.model.train()
        self.epoch += 1
        generator = np.random.default_rng([self.seed, self.epoch])
        for batch in self.windows.batches(self.model.settings.batch_size, generator):
            batch = batch.to(self.device)
            self.optimizer.zero_grad(set_to_none=True)
            self.model.loss(self.model(batch.histories, batch.positions), batch.targets).backward()
            self.optimizer.step()

    def measure(self, cases: Cases) -> CaseMetrics:
        """The metrics of some cases."""
        return measure(self.dataset, cases, self.model.case_scores(cases))


def measure_seed(
    settings: Settings, dataset: Dataset, seed: int, epochs: int, patience: int
) -> Iterator[tuple[str, Run]]:
    """Both trainings of a seed: which one, and its metrics on the test split, which is read at the end of each."""
    test, valid = dataset.cases("test"), sample_cases(dataset.cases("valid"), 10_000, seed)
    if not len(test) or not len(valid):
        raise DataError(f"{dataset.path} has no cases in its test or validation split; import it with another --split")
    if any((np.diff(cases.history_offsets.astype(np.int64)) == 0).any() for cases in (test, valid)):
        raise DataError(f"{dataset.path} has users without a history, and SASRec reads nothing else")
    training, best, chosen, kept = Training(settings, dataset, seed, with_validation=False), -1.0, 0, {}
    for epoch in tqdm(range(1, epochs + 1), desc=f"seed {seed}", unit="epoch", disable=None):
        training.run_epoch()
        found = float(training.measure(valid)["unseen"]["recall@10"].mean())
        if found > best:
            best, chosen = found, epoch
            kept = {name: value.clone() for name, value in training.model.state_dict().items()}
        if epoch - chosen >= patience:
            break
    training.model.load_state_dict(kept)
    report = {"seed": seed, "epochs": chosen, "validation": best}
    yield WITHOUT, Run(training.measure(test), report, describe_environment())
    training = Training(settings, dataset, seed, with_validation=True)
    for _ in tqdm(range(chosen), desc=f"seed {seed}, with validation", unit="epoch", disable=None):
        training.run_epoch()
    yield WITH, Run(training.measure(test), {"seed": seed, "epochs": chosen}, describe_environment())


def as_json(run: Run) -> dict[str, Any]:
    """What the training said, and the means over the test cases."""
    test = {view: {m: float(run.metrics[view][m].mean()) for m in METRICS} for view in VIEWS}
    return run.report | {"test": test}


@click.command(
    cls=BenchCommand, epilog="\b\nExample:\n  python benchmarks/published_sasrec.py --data data/beauty --seeds 0,1,2"
)
@click.option("--data", type=click.Path(path_type=Path), required=True, help="A data folder.")
@click.option("--seeds", type=Numbers(), default="0,1,2", show_default=True, help="Two trainings a seed.")
@click.option("--dim", type=click.IntRange(1), default=Settings.dim, show_default=True, help="D.")
@click.option("--epochs", type=click.IntRange(1), default=200, show_default=True, help="At most so many.")
@click.option(
    "--patience",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Stop after so many without a better validation recall@10.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Where JSON, Markdown and picture go.")
def main(data: Path, seeds: tuple[int, ...], dim: int, epochs: int, patience: int, out: Path) -> None:
    """The SASRec behind the best published figures on Beauty, trained with and without the validation events."""
    dataset, settings = Dataset.open(data), Settings(dim=dim)
    runs: dict[str, list[Run]] = {WITHOUT: [], WITH: []}
    for seed in seeds:
        for which, run in measure_seed(settings, dataset, seed, epochs, patience):
            runs[which].append(run)
    measured = [Measured(which, tuple(found)) for which, found in runs.items()]
    published = ["published, Beauty", "unseen", *(f"{PUBLISHED[m]:.2f}" if m in PUBLISHED else "–" for m in METRICS)]
    title = f"The published SASRec, rebuilt, on {dataset.name}"
    text = "\n\n".join(
        (
            f"# {title}",
            f"`{command_line()}`",
            f"Data {dataset.name} ({dataset.num_users:,} users, {dataset.num_items:,} items), D = {dim}, seeds "
            f"{', '.join(map(str, seeds))}, epochs {', '.join(str(run.report['epochs']) for run in runs[WITHOUT])}. Per cent, "
            "mean ± standard deviation of the seeds, test split.",
            f"{quality_table(measured, METRICS)}\n| {' | '.join(published)} |",
            origins(measured),
            f"![{title}](published-{dataset.name}.png)",
        )
    )
    shown = [
        *records_of_ours(measured, METRICS, "unseen"),
        *(
            {"system": "published, Beauty", "metric": m, "whose": "published", "value": v, "spread": 0.0}
            for m, v in PUBLISHED.items()
        ),
    ]
    result = {
        "environment": describe_environment(),
        "data": dataset.name,
        "settings": asdict(settings),
        "runs": {which: [as_json(run) for run in found] for which, found in runs.items()},
    }
    subtitle = f"ours: {data_and_seeds(dataset.name, seeds)}, test split, seen items left out"
    chart = comparison(shown, METRICS, title, subtitle)
    write_files(out, f"published-{dataset.name}", text + "\n", result, chart)


if __name__ == "__main__":
    main()
