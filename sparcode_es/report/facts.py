"""What a report says, section by section: numbers and texts alone, nothing of how they are drawn. A missing section is None."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sparcode_es.engines.inspector import Dead
from sparcode_es.evaluation.slices import Slice
from sparcode_es.postings.profile import CodeProfile

Points = tuple[tuple[float, float], ...]
"""(x, y), in order of x."""


@dataclass(frozen=True)
class Histogram:
    """Counts between edges: bar i is from edges[i] to edges[i + 1]."""

    edges: tuple[float, ...]
    layers: dict[str, tuple[float, ...]]
    """What is counted → as many counts as bars."""


@dataclass(frozen=True)
class Place:
    """What holds the postings, and whose they are."""

    engine: str
    where: str
    generation: str
    model_hash: str
    codebook_hash: str
    counts: dict[str, int]
    """items, users, codes, item_codes, postings, …"""
    bias: float | None
    """b of Eq. 15."""
    sparsity: float | None
    """The share of all (code, item) pairs of the quantizer that is not kept; None where it is unknown how many there are."""
    bytes: int | None
    """On disk: of the artifact's files, or of the items index."""
    created_at: str | None
    field_type: str | None = None
    """Of Elasticsearch."""
    updates: int = 0
    """Updates folded in since the build."""


def possible_pairs(counts: Mapping[str, int]) -> int:
    """(code, item) pairs of the quantizer, out of a `Place`'s counts; 0 where it is unknown how many codes are possible."""
    return counts.get("possible_codes", 0) * counts.get("items", 0)


@dataclass(frozen=True)
class StageCurve:
    """One stage of a training."""

    name: str
    losses: Points
    """(epoch, loss)"""
    metrics: dict[str, Points]
    """Validation metric → (epoch, value)."""
    perplexity: Points
    """(epoch, perplexity of the codes / N); empty where the stage has no codes."""
    best_epoch: int | None
    """Of the metric that chooses; None where nothing was validated."""
    seconds: float
    """All epochs together."""


@dataclass(frozen=True)
class Training:
    """What a training's folder tells."""

    folder: str
    model: str
    metric: str
    """The validation metric that chooses."""
    finished: bool
    stages: tuple[StageCurve, ...]
    weights: dict[str, Points]
    """Memory → (weight tried, the metric that chooses)."""
    config: str
    """The configuration as TOML."""


@dataclass(frozen=True)
class QualityRow:
    """What validation said of one system; metrics that were not measured are not there."""

    system: str
    metrics: dict[str, float]


@dataclass(frozen=True)
class Quality:
    """The systems of one training, the two-tower first, each containing those before it."""

    metric: str
    rows: tuple[QualityRow, ...]


@dataclass(frozen=True)
class Evaluated:
    """What `sparcode-es evaluate` measured of one system."""

    system: str
    """The model's name; with the file's where two have the same."""
    file: str
    metrics: dict[str, dict[str, float]]
    """View → metric → mean over the cases."""
    slices: dict[str, tuple[Slice, ...]]
    """history and popularity, each from few events to many."""


@dataclass(frozen=True)
class Evaluation:
    """Systems measured on the same cases."""

    data: str
    data_hash: str
    split: str
    convention: str
    cases: int
    systems: tuple[Evaluated, ...]


@dataclass(frozen=True)
class Latency:
    """How long recommendations took, one at a time."""

    engine: str
    version: str
    """Of the engine's software."""
    where: str
    machine: str
    """The one that asked; an embedded engine's own."""
    measured_at: str
    k: int
    requests: int
    users: int
    warm_up: int
    """Recommendations before the first that counts."""
    milliseconds: dict[str, float]
    """p50, p95, p99"""


@dataclass(frozen=True)
class KindUsage:
    """The codes of a kind."""

    codes: int
    with_users: int
    with_items: int
    postings: int
    traffic: float
    """The share of all users' boosts."""


@dataclass(frozen=True)
class Usage:
    """Who has which codes."""

    kinds: dict[str, KindUsage]
    perplexity: float | None
    """exp(entropy) of the learned codes' traffic / their number: 1 when all are used alike; None without traffic."""
    cumulative: dict[str, Points]
    """Kind → (share of its codes, the busiest first; share of its traffic)."""
    users: dict[str, Histogram]
    """Kind → its codes by the users that have them."""
    items: dict[str, Histogram]
    """Kind → its codes by their postings."""
    busiest: tuple[CodeProfile, ...]
    dead: Dead


@dataclass(frozen=True)
class MapPoint:
    """A learned code on the map."""

    code: str
    name: str
    x: float
    y: float
    items: int
    users: int
    traffic: float
    top: tuple[str, ...]
    """Titles, or ids, of its best items."""


@dataclass(frozen=True)
class CodeMap:
    """The codes in the plane that shows most of how they differ."""

    basis: str
    """What the principal components are of."""
    explained: tuple[float, float]
    """The share of the variance that each axis shows."""
    points: tuple[MapPoint, ...]
    """The codes with most traffic, at most `sparcode_es.postings.places.MAPPED`."""
    codes: int
    """Learned codes that there are."""


@dataclass(frozen=True)
class Scores:
    """The sizes of the postings' scores."""

    exact: bool
    """Whether every posting was read; else it is an estimate from each code's quantiles."""
    histogram: Histogram
    """A layer a kind."""
    quantiles: dict[str, dict[str, float]]
    """Kind → min, p10, p50, p90, max."""
    sparsity: Points
    """(score s, sparsity if the learned codes' postings below s were dropped); empty where the possible pairs are unknown."""


@dataclass(frozen=True)
class Documents:
    """Postings a document."""

    items: int
    without: int
    mean: float
    quantiles: dict[str, float]
    """min, p10, p50, p90, max"""
    histogram: Histogram


@dataclass(frozen=True)
class NamedItem:
    """An item and its title."""

    item: str
    title: str | None


@dataclass(frozen=True)
class NamedShare:
    """A code, by its readable name, and its share of something."""

    code: str
    name: str
    kind: str
    value: float


@dataclass(frozen=True)
class Recommended:
    """An item that a user is shown, and why."""

    item: str
    title: str | None
    score: float
    reasons: tuple[NamedShare, ...]
    """boost × posting of each code, the largest first; they add up to the score."""


@dataclass(frozen=True)
class Example:
    """A user: what they met, their codes, what they are shown."""

    user: str
    seen: int
    latest: tuple[NamedItem, ...]
    """The latest first."""
    codes: tuple[NamedShare, ...]
    """By share of the user's boosts."""
    items: tuple[Recommended, ...]
    """The best, less what they have met."""


@dataclass(frozen=True)
class Report:
    """A report's facts."""

    title: str
    made_at: str
    version: str
    places: tuple[Place, ...] = ()
    training: Training | None = None
    quality: Quality | None = None
    evaluation: Evaluation | None = None
    usage: Usage | None = None
    code_map: CodeMap | None = None
    scores: Scores | None = None
    documents: Documents | None = None
    examples: tuple[Example, ...] | None = None
    latency: Latency | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def sections(self) -> list[str]:
        """The names of the sections that there are."""
        names = (
            *("places", "training", "quality", "evaluation", "usage", "code_map"),
            *("scores", "documents", "examples", "latency"),
        )
        return [name for name in names if getattr(self, name)]
