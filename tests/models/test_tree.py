"""Trees over items: every item one leaf, all equally deep, similar items together."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparcode_es.models.tree import children_of, cluster_order, nodes_of, tree_bounds

SHAPES = {"leaves": st.integers(1, 300), "branching": st.integers(2, 7)}


@given(**SHAPES)
def test_the_tree_is_balanced_and_its_leaves_are_the_items(leaves: int, branching: int) -> None:
    bounds = tree_bounds(leaves, branching)
    depth = len(bounds) - 1
    assert branching ** (depth - 1) < leaves <= branching**depth or (leaves, depth) == (1, 1)
    np.testing.assert_array_equal(bounds[-1], np.arange(leaves + 1))
    for level, cuts in enumerate(bounds):
        sizes = np.diff(cuts)
        assert sizes.sum() == leaves
        assert 1 <= sizes.min() <= sizes.max() <= sizes.min() + 1
        assert len(sizes) == min(branching**level, leaves)


@given(**SHAPES)
def test_children_and_ancestors_are_the_same_tree(leaves: int, branching: int) -> None:
    bounds = tree_bounds(leaves, branching)
    tables = children_of(bounds, branching)
    reached = np.array([0])
    for table in tables:
        children = table[reached]
        assert (children[:, 0] >= 0).all(), "every inner node has a child"
        reached = children[children >= 0]
    np.testing.assert_array_equal(reached, np.arange(leaves))
    paths = nodes_of(bounds)
    for table, upper, lower in zip(tables[1:], paths[:-1], paths[1:], strict=True):
        assert (table[upper] == lower[:, None]).any(1).all()


@settings(max_examples=30)
@given(**SHAPES, seed=st.integers(0, 5))
def test_every_item_has_one_place(leaves: int, branching: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(leaves, 3)).round(0).astype(np.float32)  # many are equal
    order = cluster_order(vectors, tree_bounds(leaves, branching), seed)
    np.testing.assert_array_equal(np.sort(order), np.arange(leaves))


@pytest.mark.parametrize("branching", [2, 4])
def test_items_of_a_cluster_stand_under_one_node(branching: int) -> None:
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(4), 8))
    centres = np.array([[10, 10], [10, -10], [-10, 10], [-10, -10]], dtype=np.float32)
    vectors = centres[labels] + rng.normal(size=(32, 2)).astype(np.float32)
    order = cluster_order(vectors, tree_bounds(32, branching), seed=0)
    for begin, end in itertools.pairwise(range(0, 33, 8)):
        assert len(set(labels[order[begin:end]])) == 1


def test_six_leaves_by_hand() -> None:
    bounds = tree_bounds(6, 2)
    assert [level.tolist() for level in bounds] == [[0, 6], [0, 3, 6], [0, 1, 3, 4, 6], [0, 1, 2, 3, 4, 5, 6]]
    assert nodes_of(bounds).tolist() == [[0, 0, 0, 1, 1, 1], [0, 1, 1, 2, 3, 3], [0, 1, 2, 3, 4, 5]]
    assert [t.tolist() for t in children_of(bounds, 2)] == [
        [[0, 1]],
        [[0, 1], [2, 3]],
        [[0, -1], [1, 2], [3, -1], [4, 5]],
    ]
