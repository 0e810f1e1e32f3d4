"""TDM: a user tower against the nodes of a tree over the items, searched by beam (Zhu et al. 2018; §4.5 of the paper).

Level 0 is the root; the leaves of the last level are the items. B users, n nodes, w nodes kept a level, D.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sparcode_es.config import StageConfig, TDMConfig
from sparcode_es.data.dataset import Cases, ScoreFunction
from sparcode_es.models.base import TokenModel, Tower
from sparcode_es.models.batches import Batch
from sparcode_es.models.encode import encode_tokens
from sparcode_es.models.losses import NegativeSampler, sampled_softmax
from sparcode_es.models.scorers import Head
from sparcode_es.models.tree import children_of, cluster_order, nodes_of, tree_bounds


class NodeScorer(nn.Module):
    """User against node: scale · <u, v>, and for `mlp` beside it MLP([u; v; u ⊙ v]), which begins at 0."""

    def __init__(self, config: TDMConfig, dim: int) -> None:
        super().__init__()
        self.with_mlp = config.interaction == "mlp"
        if self.with_mlp:
            self.user, self.node = nn.Linear(dim, config.hidden[0]), nn.Linear(dim, config.hidden[0], bias=False)
            self.both = nn.Linear(dim, config.hidden[0], bias=False)
            self.head = Head(config.hidden, residual=True)

    def forward(self, users: Tensor, nodes: Tensor, scale: Tensor) -> Tensor:
        """users: [B, D]; nodes that all users share, [n, D], or each user's own, [B, n, D] → scores [B, n]."""
        shared = nodes.ndim == 2
        scores = scale * (users @ nodes.T if shared else torch.einsum("bd,bnd->bn", users, nodes))
        if not self.with_mlp:
            return scores
        if shared:
            gates = torch.einsum("hd,nd->nhd", self.both.weight, nodes).flatten(0, 1)  # [n · h, D]
            products = (users @ gates.T).view(len(users), len(nodes), -1)
        else:
            products = self.both(users.unsqueeze(1) * nodes)
        extra: Tensor = self.head(self.user(users).unsqueeze(1) + self.node(nodes) + products)
        return scores + extra


class TDM(TokenModel):
    """A softmax over each level's nodes is trained along the path to the next item; the search keeps `beam` nodes a level.

    It begins from a tower: its tokenizer is the user's side, its item vectors are the leaves, and the tree is made of them;
    an inner node begins as the mean of its leaves. The tree is made anew of the leaves after some epochs of training.
    """

    begins_from_tower = True
    order: Tensor
    epochs: Tensor
    nodes: Tensor

    def build(self) -> None:
        """Make the layers."""
        config = self.config
        dim = config.tokenizer.dim
        self.build_tower()
        self.scorer = NodeScorer(config.tdm, dim)
        self.bounds = tree_bounds(self.num_items, config.tdm.branching)
        self.sizes = [len(level) - 1 for level in self.bounds]
        self.leaves = nn.Embedding(self.num_items, dim)
        self.inner = nn.ModuleList(nn.Embedding(size, dim) for size in self.sizes[1:-1])
        self.register_buffer("order", torch.arange(self.num_items))  # place among the leaves → item
        self.register_buffer("epochs", torch.zeros((), dtype=torch.int64))
        self.register_buffer("nodes", torch.from_numpy(nodes_of(self.bounds)), persistent=False)
        for level, table in enumerate(children_of(self.bounds, config.tdm.branching)):
            self.register_buffer(f"children_{level}", torch.from_numpy(table), persistent=False)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: object) -> None:
        """ValueError for leaves that are not each item once."""
        saved = state_dict.get(f"{prefix}order")
        if saved is not None and not torch.equal(saved.cpu().sort().values, torch.arange(self.num_items)):
            raise ValueError(f"{prefix}order does not name each of {self.num_items} items once")
        super()._load_from_state_dict(state_dict, prefix, *args)

    @property
    def depth(self) -> int:
        """The leaves' level."""
        return len(self.bounds) - 1

    @property
    def stage_config(self) -> StageConfig:
        """`tdm.stage`."""
        return self.config.tdm.stage

    # -- the tree -------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def begin_from(self, tower: Tower) -> None:
        """The tower's tokenizer and scale; its item vectors as the leaves; the first tree."""
        self.take_tower(tower)
        self.leaves.weight.copy_(self.tokenizer.targets(torch.arange(self.num_items, device=self.order.device)))
        self.learn_tree()

    @torch.no_grad()
    def learn_tree(self) -> None:
        """Cluster the leaves by direction; an inner node becomes the mean of its leaves."""
        directions = F.normalize(self.leaves.weight, dim=-1).cpu().numpy()
        order = cluster_order(directions, self.bounds, self.config.training.seed)
        self.order.copy_(torch.from_numpy(order))
        vectors = self.leaves.weight[self.order]
        for table, nodes, bounds in zip(self.inner, self.nodes, self.bounds[1:], strict=False):
            counts = torch.from_numpy(np.diff(bounds)).to(vectors)
            sums = torch.zeros(len(counts), vectors.shape[1], device=vectors.device).index_add(0, nodes, vectors)
            table.load_state_dict({"weight": sums / counts.unsqueeze(1)})

    def after_epoch(self) -> dict[str, float]:
        """Make the tree anew where `relearn_every` says so."""
        settings = self.config.tdm
        self.epochs += 1
        trees, rest = divmod(int(self.epochs), settings.relearn_every) if settings.relearn_every else (0, 1)
        if rest or trees > settings.relearn_times:
            return {}
        self.learn_tree()
        return {"tree": 1.0 + trees}

    def vectors(self, level: int, nodes: Tensor) -> Tensor:
        """Embeddings of nodes int64 [...] of a level, [..., D]."""
        found: Tensor = self.leaves(self.order[nodes]) if level == self.depth else self.inner[level - 1](nodes)
        return found

    # -- training -------------------------------------------------------------------------------------------------

    def loss(self, batch: Batch, sampler: NegativeSampler) -> Tensor:
        """The mean over the levels of the sampled softmax of the node above the next item, against nodes of its level."""
        batch = batch.some(self.config.tdm.positions)
        users = batch.spread(self.tokenizer(batch.histories, batch.positions, batch.users).mean(1))
        places = torch.argsort(self.order)[batch.targets]
        losses = []
        for level in range(1, self.depth + 1):
            candidates = self.level_sampler(level, sampler).draw(self.nodes[level - 1][places])
            scores = self.scorer(users, self.vectors(level, candidates.items), self.log_scale.exp())
            losses.append(sampled_softmax(scores, candidates))
        return torch.stack(losses).mean()

    def level_sampler(self, level: int, sampler: NegativeSampler) -> NegativeSampler:
        """The sampler of items as one of a level's nodes; all of them where they are few."""
        size, most = self.sizes[level], self.config.tdm.num_negatives
        shares = torch.zeros(size, device=self.order.device)
        shares = shares.index_add(0, self.nodes[level - 1], sampler.share[self.order])
        negatives = "all" if size <= most else sampler.config.negatives
        most = min(most, sampler.config.num_negatives)
        return NegativeSampler(replace(sampler.config, negatives=negatives, num_negatives=most), shares)

    # -- retrieval ------------------------------------------------------------------------------------------------

    def search(self, users: Tensor) -> tuple[Tensor, Tensor]:
        """Layer-wise beam search: users [B, D] → the leaves reached as items, int64 [B, n], -1 for none, and their scores."""
        scale = self.log_scale.exp()
        kept = torch.zeros(len(users), 1, dtype=torch.int64, device=users.device)
        for level in range(1, self.depth + 1):
            children = self.get_buffer(f"children_{level - 1}")[kept.clamp(min=0)]  # [B, w, branching]
            nodes = torch.where(kept.unsqueeze(-1) >= 0, children, -1).flatten(1)
            scores = self.scorer(users, self.vectors(level, nodes.clamp(min=0)), scale)
            scores = scores.masked_fill(nodes < 0, -torch.inf)
            if level < self.depth:
                best = scores.topk(min(self.config.tdm.beam, scores.shape[1]), dim=1).indices
                kept = nodes.gather(1, best)
        return torch.where(nodes >= 0, self.order[nodes.clamp(min=0)], -1), scores

    def case_scores(self, cases: Cases) -> ScoreFunction:
        """The scores of the leaves that the search reaches for the cases' histories; -inf for all other items."""
        users = encode_tokens(self, cases.history_offsets, cases.history_items, cases.users).mean(1)

        @torch.inference_mode()
        def score(rows: np.ndarray) -> np.ndarray:
            items, found = self.search(users[torch.from_numpy(rows)].to(self.order.device))
            scores = torch.full((len(rows), self.num_items + 1), -torch.inf)  # -1 falls into the last column
            scores.scatter_(1, (items % (self.num_items + 1)).cpu(), found.float().cpu())
            return scores[:, :-1].numpy()

        return score
