"""What the benchmarks share: the paper's figures, configurations and folders, rankings from postings, timing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import paper
import pytest
import quality
import torch
from cuts import _earlier_histories, artifact_scores, build
from figure4_codebooks import _gains
from grids import GridPoint
from item_codes import validation_cases
from measuring import Measured, Run, measure, measure_trained, origins
from published_sasrec import PublishedSASRec, Settings
from report import comparison_columns, markdown_table, write_report
from systems import SMALL, Bench, Row, chosen, folder_name, tower_config
from timing import time_queries

from benchmarks.tiny import import_sequences
from sparcode_es.config import Config, PostingsConfig, load_config, read_by_model
from sparcode_es.data.dataset import Dataset
from sparcode_es.engines.base import Query
from sparcode_es.engines.embedded import EmbeddedEngine
from sparcode_es.errors import ConfigError, DataError
from sparcode_es.models.sparcode import SparCode
from sparcode_es.serving.encoder import encode_histories
from sparcode_es.training.build import build_model

NAMES = ("table1_deezer", "table2_sequences", "table3_interactions", "table4_tdm")


def bench(data: Path, tmp_path: Path, **more: object) -> Bench:
    return Bench(Dataset.open(data), "ml-100k", (0,), str(more.pop("scale", "small")), tmp_path, tmp_path, dict(more))


def gain(after: dict[str, float], before: dict[str, float], metric: str) -> float:
    return round(100 * (after[metric] / before[metric] - 1), 2)


def test_a_picture_says_which_data_seeds_and_scale_it_is_of(ring: Path, tmp_path: Path) -> None:
    small = bench(ring, tmp_path)
    name = Dataset.open(ring).name
    assert small.told == f"{name}, seed 0, small scale"
    assert replace(small, scale="full", seeds=(0, 2)).told == f"{name}, seeds 0, 2"


def test_the_papers_figures_are_those_that_its_text_speaks_of() -> None:
    """§4.2: DNN against DSSM. §4.3.1: MaxSim against the dot product. §4.5: what MLPs bring to TDM."""
    deezer = paper.TABLE_1["svd"]
    assert gain(deezer["sparcode-dnn"], deezer["ttm-dnn"], "precision@50") == 71.15
    table = paper.TABLE_3
    assert gain(table["sa-maxsim"], table["sa-dot-1"], "recall@50") == pytest.approx(45.69, abs=0.011)
    assert gain(table["sa-maxsim"], table["sa-dot-1"], "ndcg@50") == pytest.approx(49.61, abs=0.011)
    assert (table["dnn-dot-1"]["recall@50"], table["dnn-maxsim"]["recall@50"]) == (3.39, 5.44)
    assert (paper.TABLE_4["tdm-dot"]["recall@50"], paper.TABLE_4["tdm-mlp"]["recall@50"]) == (3.71, 5.09)
    assert table["dnn-ttm"]["recall@50"] == deezer["ttm-dnn"]["recall@50"]
    assert table["sa-inner_pdnn"]["ndcg@50"] == deezer["sparcode-sa"]["ndcg@50"]


def test_every_figure_of_the_paper_has_a_row() -> None:
    from table1_deezer import rows_of
    from table2_sequences import ROWS as TABLE_2
    from table3_interactions import ROWS as TABLE_3
    from table4_tdm import ROWS as TABLE_4

    for rows, printed in (
        (rows_of("svd"), paper.TABLE_1["svd"] | {"deezernet-semi": paper.DEEZERNET_SEMI}),
        (rows_of("mf"), paper.TABLE_1["mf"]),
        (TABLE_2, paper.TABLE_2),
        (TABLE_3, paper.TABLE_3),
        (TABLE_4, paper.TABLE_4),
    ):
        assert {row.name: dict(row.paper) for row in rows if row.paper} == printed
        assert len({row.name for row in rows}) == len({row.label for row in rows}) == len(rows)


def test_rows_make_configurations(ring: Path, tmp_path: Path) -> None:
    from table2_sequences import ROWS as TABLE_2
    from table3_interactions import ROWS as TABLE_3

    for row in [*TABLE_2, *TABLE_3]:
        for scale in ("small", "full"):
            config = bench(ring, tmp_path, scale=scale).config(row.model, row.overrides, 3)
            assert (config.model, config.training.seed) == (row.model, 3)


def test_published_systems_are_trained_as_their_own_presets_say(ring: Path, tmp_path: Path) -> None:
    from table1_deezer import rows_of

    there = replace(bench(ring, tmp_path, scale="full"), preset="deezer-svd")
    seen = set()
    for row in rows_of("svd", published=True):
        if row.model in ("dropoutnet", "melu", "deezernet"):
            form = {"deezernet.form": "semi"} if row.name == "deezernet-semi" else {}
            expected = load_config(preset=f"deezer-{row.model}", overrides=form)
            assert read_by_model(there.config(row.model, row.overrides, 0)) == read_by_model(expected)
            seen.add(row.name)
    assert seen == {"dropoutnet", "melu", "deezernet", "deezernet-semi"}
    plain = next(row for row in rows_of("svd") if row.name == "melu")
    assert there.config("melu", plain.overrides, 0).training.tower.batch_size == 128


def test_a_two_tower_is_trained_to_its_end_where_sparcode_only_begins_from_one(ring: Path, tmp_path: Path) -> None:
    from table2_sequences import ROWS, rows_for

    there = replace(bench(ring, tmp_path, scale="full"), preset="paper-ml-10m")
    epochs = {
        row.name: there.trained_as(row.model, row.overrides, 0).training.tower.epochs
        for row in rows_for(there)
        if row.name in ("ttm-gru", "sparcode-gru")
    }
    assert epochs == {"ttm-gru": 50, "sparcode-gru": 1}
    assert rows_for(replace(there, scale="small")) == rows_for(replace(there, preset="ml-100k")) == ROWS


def test_the_scale_gives_way_to_the_row_and_the_row_to_set(ring: Path, tmp_path: Path) -> None:
    own = {"tokenizer.dim": 16, "quantizer.codes": 64}
    assert bench(ring, tmp_path).config("sparcode", {}, 0).tokenizer.dim == SMALL["tokenizer.dim"]
    assert bench(ring, tmp_path).config("sparcode", own, 0).quantizer.codes == 64
    assert bench(ring, tmp_path, **{"quantizer.codes": 19}).config("sparcode", own, 0).quantizer.codes == 19
    assert bench(ring, tmp_path, scale="full").config("sparcode", {}, 0) == load_config(preset="ml-100k")


def test_without_a_preset_it_is_what_train_does_without_flags(
    ring: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = replace(bench(ring, tmp_path, scale="full"), preset=None)
    assert plain.config("sparcode", {}, 0) == Config()
    write_report(plain, "quality", "Quality", "| table |", {}, None)
    assert "80 test cases), no preset, seeds 0." in capsys.readouterr().out
    assert json.loads((tmp_path / "quality-ring-no-preset.json").read_text())["preset"] is None


def test_what_is_set_stands_above_the_table_and_a_label_in_the_name(
    ring: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = bench(ring, tmp_path, scale="full", **{"tokenizer.members": 2, "scorer.hidden": [8, 4]})
    write_report(replace(other, label="ensemble"), "quality", "Quality", "| table |", {}, None)
    assert "preset ml-100k, tokenizer.members = 2, scorer.hidden = [8, 4], seeds 0." in capsys.readouterr().out
    assert (tmp_path / "quality-ring-ensemble.md").exists()


def test_a_tower_is_shared_by_all_with_its_tokenizer() -> None:
    codes = load_config(
        preset="ml-100k", overrides={"quantizer.codes": 19, "scorer.kind": "dot", "tokenizer.item_tokens": 4}
    )
    plain = load_config(preset="ml-100k", overrides={"model": "two_tower", "item_codes.latest": 0})
    assert folder_name(tower_config(codes)) == folder_name(tower_config(plain))
    wider = load_config(preset="ml-100k", overrides={"tokenizer.tokens": 2})
    assert folder_name(tower_config(wider)) != folder_name(tower_config(plain))
    assert folder_name(codes) != folder_name(load_config(preset="ml-100k"))


def test_a_folder_is_named_by_what_differs_from_the_defaults() -> None:
    assert folder_name(Config()) == folder_name(load_config(overrides={"training.seed": 5, "quantizer.codes": 1024}))
    assert folder_name(Config()).startswith("sparcode-self_attention-")


def test_rows_by_name() -> None:
    rows = [Row("a", "A", "popularity"), Row("b", "B", "two_tower"), Row("c", "C", "oracle")]
    assert [row.name for row in chosen(rows, "b,a")] == ["b", "a"]
    with pytest.raises(ConfigError, match=r"no model oracle; it has: .*popularity.*give --rows a,b"):
        chosen(rows, None)
    with pytest.raises(ConfigError, match="no row d; the rows are: a,b,c"):
        chosen(rows, "d")


def test_means_and_spreads_are_over_seeds() -> None:
    runs = tuple(
        Run({view: {"recall@50": np.array(hits)} for view in ("all", "unseen")}, {}, {}) for hits in ([1.0, 0], [0, 0])
    )
    found = Measured("x", runs)
    assert found.cell("all", "recall@50") == "25.00 ± 25.00"
    assert Measured("x", runs[:1]).cell("all", "recall@50") == "50.00"
    assert found.by_case("all", "recall@50").shape == (2, 2)


def test_markdown() -> None:
    assert comparison_columns(["recall@50"]) == ["system", "view", "R@50 ours", "R@50 paper"]
    assert markdown_table(["a", "b"], [["1", "2"]]) == "| a | b |\n|---|---:|\n| 1 | 2 |"


def test_scores_of_postings_are_what_the_engine_returns(ring: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    here = bench(ring, tmp_path)
    model = build_model(
        here.config("sparcode", {"quantizer.codes": 16, "item_codes.latest": 0}, 0), here.dataset
    ).eval()
    assert isinstance(model, SparCode)
    artifact = build(here, model, tmp_path / "postings", PostingsConfig(sparsity=0.9))
    engine, scores = EmbeddedEngine(artifact), artifact_scores(artifact)
    assert artifact.num_users == len(here.cases)
    for user, row in enumerate(scores(np.arange(10))):
        hits = engine.search(Query(tuple(artifact.user_clauses(user)), here.dataset.num_items))
        returned = {here.dataset.item_ids.find(hit.item): hit.score for hit in hits}
        assert {int(item): pytest.approx(row[item], rel=1e-5) for item in np.flatnonzero(np.isfinite(row))} == returned


def test_what_was_measured_needs_its_training_no_more(
    ring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = bench(ring, tmp_path)
    first = measure_trained(here, "popularity", {}, 0)
    here.train("popularity", {}, 0).model_path.unlink()
    monkeypatch.setattr(Bench, "train", None)
    again = measure_trained(bench(ring, tmp_path), "popularity", {}, 0)
    assert again.environment == first.environment
    for view, metrics in first.metrics.items():
        for name, values in metrics.items():
            np.testing.assert_array_equal(again.metrics[view][name], values)


def test_of_several_targets_the_earliest_alone_can_be_measured(ring: Path, tmp_path: Path) -> None:
    flags = ("--split", "leave-last-out", "--last", "2")
    here = bench(import_sequences(ring.parent / "log.txt", tmp_path / "two", *flags), tmp_path)
    both = measure_trained(here, "popularity", {}, 0).metrics
    first = measure_trained(replace(here, first_targets=1), "popularity", {}, 0).metrics
    cases, model = here.cases, here.model("popularity", {}, 0)
    assert set(np.diff(cases.target_offsets)) == {2}
    alone = replace(cases, target_offsets=cases.target_offsets // 2, target_items=cases.target_items[::2])
    for view, metrics in measure(here.dataset, alone, model.case_scores(alone)).items():
        for name, values in metrics.items():
            np.testing.assert_array_equal(first[view][name], values)
        assert (2 * both[view]["recall@10"] >= first[view]["recall@10"]).all()
        assert (both[view]["recall@10"] != first[view]["recall@10"]).any()
    assert here.asked == "80 test cases of 160 items"
    write_report(replace(here, first_targets=1), "quality", "Quality", "", {}, None)
    assert "(80 users, 100 items, 80 test cases of 80 items, the first 1 of each), preset" in (
        tmp_path / "quality-two-first-1-small.md"
    ).read_text("utf-8")
    with pytest.raises(ConfigError, match=r"no case of .* asks for more than 2 items, so the first 2 are all"):
        measure_trained(replace(here, first_targets=2), "popularity", {}, 0)


def test_ranks_where_users_who_are_not_asked_differ_are_refused(tmp_path: Path) -> None:
    asked = [" ".join([f"u{user}", *(f"i{(user + step) % 30}" for step in range(9))]) for user in range(30)]
    for name, items in (("one", "i1 i2 i3"), ("two", "i3 i2 i1")):
        log = tmp_path / f"{name}.txt"
        log.write_text("\n".join([*asked, f"short {items}"]) + "\n")
        import_sequences(log, tmp_path / name / "log", "--split", "leave-last-out", "--last", "4")
    measure_trained(bench(tmp_path / "one" / "log", tmp_path), "popularity", {}, 0)
    with pytest.raises(ConfigError, match="is of other data than"):
        measure_trained(bench(tmp_path / "two" / "log", tmp_path), "popularity", {}, 0)


@pytest.mark.parametrize("part", ["users", "target_items", "history_items"])
def test_ranks_of_other_data_are_refused_and_stay(ring: Path, tmp_path: Path, part: str) -> None:
    here = bench(ring, tmp_path)
    measure_trained(here, "popularity", {}, 0)
    [path] = tmp_path.rglob("ranks-model.npz")
    before, other = path.read_bytes(), bench(ring, tmp_path)
    other.__dict__["cases"] = replace(here.cases, **{part: getattr(here.cases, part)[::-1].copy()})
    with pytest.raises(ConfigError, match=r"ranks-model.npz is of other data than .*choose another --runs"):
        measure_trained(other, "popularity", {}, 0)
    assert path.read_bytes() == before


def test_ranks_of_other_defaults_are_refused(ring: Path, tmp_path: Path) -> None:
    """A release may change a default, and with it what a folder's name stands for."""
    here = bench(ring, tmp_path)
    measure_trained(here, "popularity", {}, 0)
    [path] = tmp_path.rglob("ranks-model.npz")
    with np.load(path) as kept:
        arrays = dict(kept)
    about = json.loads(str(arrays.pop("about")))
    about["config"]["training"]["metric"] = "ndcg@10"
    np.savez(path, about=np.array(json.dumps(about)), **arrays)
    with pytest.raises(ConfigError, match=r"ranks-model.npz was measured with another configuration.*choose another"):
        measure_trained(here, "popularity", {}, 0)


def test_ranks_from_before_a_key_are_those_of_its_default(ring: Path, tmp_path: Path) -> None:
    """The scale sets tokenizer.dim; training.tower.weight_decay has its default."""
    here = bench(ring, tmp_path)
    measured = measure_trained(here, "two_tower", {}, 0)
    [path] = tmp_path.rglob("ranks-model.npz")
    with np.load(path) as kept:
        arrays = dict(kept)
    about = json.loads(str(arrays.pop("about")))
    del about["config"]["training"]["tower"]["weight_decay"]
    np.savez(path, about=np.array(json.dumps(about)), **arrays)
    again = measure_trained(here, "two_tower", {}, 0)
    assert again.report == measured.report
    del about["config"]["tokenizer"]["dim"]
    np.savez(path, about=np.array(json.dumps(about)), **arrays)
    with pytest.raises(ConfigError, match=r"another configuration"):
        measure_trained(here, "two_tower", {}, 0)


def test_a_damaged_file_of_ranks_is_named(ring: Path, tmp_path: Path) -> None:
    here = bench(ring, tmp_path)
    measure_trained(here, "popularity", {}, 0)
    [path] = tmp_path.rglob("ranks-model.npz")
    whole = path.read_bytes()
    for damaged in (whole[:200], b"", b"text", whole[:-30]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"ranks-model.npz is not a whole file of ranks .*delete it"):
            measure_trained(here, "popularity", {}, 0)


def test_a_table_says_where_its_figures_are_from() -> None:
    machine = {"cores": 2, "cpu": "X", "gpu": None}
    here = {"machine": machine, "packages": {"torch": "2.2"}, "date": "2026-01-02T03", "commit": "0123456789"}
    there = {**here, "machine": {**machine, "gpu": "G"}, "commit": None}
    found = origins([Measured("x", (Run({}, {}, here), Run({}, {}, there))), Measured("y", (Run({}, {}, here),))])
    assert found == (
        "Trained and measured on 2 cores (X), torch 2.2, 2026-01-02, commit 0123456; one G, 2 cores (X), torch 2.2, 2026-01-02."
    )


def test_a_table_says_which_rows_are_what_they_began_from() -> None:
    def row(label: str, *reports: dict[str, float]) -> Measured:
        place = {
            "machine": {"cores": 2, "cpu": "X"},
            "packages": {"torch": "2.2"},
            "date": "2026-01-02",
            "commit": None,
        }
        return Measured(label, tuple(Run({}, report, place) for report in reports))

    as_begun = row("All-to-All SA", {"tower_best_epoch": 4, "model_best_epoch": 0}, {"model_best_epoch": 0})
    others = [
        row("a", {"codes_best_epoch": 0}, {"codes_best_epoch": 1}),
        row("b", {"tower_best_epoch": 3}),
        row("c", {}),
    ]
    found = origins([as_begun, *others])
    assert found.endswith(" No epoch was better on validation than what it begins from, the two-tower: All-to-All SA.")


def test_rows_that_train_long_are_as_short_as_the_others_at_small_scale(ring: Path, tmp_path: Path) -> None:
    long = {
        "training.codes.epochs": 40,
        "training.codes.patience": 10,
        "training.tower.epochs": 0,
        "quantizer.codes": 64,
    }
    config = bench(ring, tmp_path).config("sparcode", long, 0)
    codes, tower = config.training.codes, config.training.tower
    assert (codes.epochs, codes.patience, tower.epochs, config.quantizer.codes) == (2, 1, 0, 64)
    full = bench(ring, tmp_path, scale="full").config("sparcode", long, 0)
    assert full.training.codes.epochs == 40


def test_every_system_is_asked_for_every_query_in_turns_after_warming_up() -> None:
    asked: list[tuple[str, int]] = []
    systems = {name: lambda query, name=name: asked.append((name, query)) for name in "ab"}
    times = time_queries(systems, 50)
    warm, timed = asked[:10], asked[10:]
    assert warm == [(name, query) for name in "ab" for query in range(5)]
    assert sorted(timed) == sorted((name, query) for name in "ab" for query in range(50))
    parts = [timed[i][0] for i in range(0, 100, 10)]
    assert parts == list("abbaabbaab")
    assert all(0 <= t.p50_ms <= t.p95_ms for t in times.values())


def test_what_is_measured_is_the_test_split_and_what_is_chosen_is_not(ring: Path, tmp_path: Path) -> None:
    here = bench(ring, tmp_path)
    valid, test = here.dataset.cases("valid"), here.dataset.cases("test")
    assert not np.array_equal(valid.target_items, test.target_items)
    assert np.array_equal(here.cases.target_items, test.target_items)
    model = build_model(here.config("sparcode", {"quantizer.codes": 16}, 0), here.dataset).eval()
    assert isinstance(model, SparCode)
    assert np.array_equal(validation_cases(model, here.dataset).target_items, valid.target_items)
    expected = encode_histories(model, valid.history_offsets, valid.history_items, valid.users)
    assert np.array_equal(_earlier_histories(here, model).codes, expected.codes)


def test_a_cut_by_traffic_looks_at_earlier_histories_or_at_those_that_ask(ring: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    here = bench(ring, tmp_path)
    model = build_model(here.config("sparcode", {"quantizer.codes": 16}, 0), here.dataset).eval()
    assert isinstance(model, SparCode)
    config = PostingsConfig(sparsity=0.9, cut="traffic", traffic_items=1)
    cut = {foreseen: build(here, model, tmp_path / str(foreseen), config, foreseen) for foreseen in (False, True)}
    uncut = artifact_scores(build(here, model, tmp_path / "uncut", PostingsConfig(sparsity=0.0)))
    rows = np.arange(len(here.cases))
    best = uncut(rows).argmax(1)
    given = {
        foreseen: float(np.maximum(artifact_scores(found)(rows)[rows, best], 0).sum())
        for foreseen, found in cut.items()
    }
    assert given[False] < given[True], "what the best items are made of, which is what the cut keeps most of"
    assert cut[False].manifest.counts.postings == cut[True].manifest.counts.postings


def _measured(label: str, hits: list[float]) -> Measured:
    metrics = {name: np.array(hits) for name in ("recall@10", "ndcg@10", "recall@50", "ndcg@50")}
    return Measured(label, (Run({"all": metrics, "unseen": metrics}, {}, {}),))


def test_a_gain_is_positive() -> None:
    tests = quality.tests_against(_measured("SparCode", [1.0, 1.0, 0.0]), _measured("two-tower", [0.0, 1.0, 0.0]))
    assert tests["all"]["ndcg@10"].difference == pytest.approx(1 / 3)
    points = [GridPoint("s", 64), GridPoint("s", 256)]
    assert _gains(points, [_measured("s", [0.5]), _measured("s", [0.75])], "s")["recall@50"] == 50.0


def test_the_table_of_differences_says_how_many_tests_it_holds() -> None:
    tests = quality.tests_against(_measured("SparCode", [1.0, 1.0, 0.0]), _measured("two-tower", [0.0, 1.0, 0.0]))
    text = quality.difference_table({"SparCode − a": tests, "SparCode − b": tests})
    assert "not corrected for their number: 16 tests are in this table, and a p below 0.0031" in text
    assert text.count("| SparCode − b | ") == 2


def test_rows_train_what_their_names_say() -> None:
    from table1_deezer import rows_of
    from table2_sequences import ROWS as TABLE_2
    from table3_interactions import ROWS as TABLE_3

    kinds = {"dnn": "dnn", "gru": "gru", "sa": "self_attention", "capsule": "capsule"}
    models = {"ttm": "two_tower", "sparcode": "sparcode"}
    for row in [*rows_of("svd"), *TABLE_2]:
        model, *kind = row.name.split("-")
        if model in models:
            config = load_config(overrides={"item_codes.latest": 0} | dict(row.overrides))
            assert (row.model, config.tokenizer.kind) == (models[model], kinds[kind[0]]), row.name
    for row in TABLE_3:
        kind_name, scorer, *tokens = row.name.split("-")
        config = load_config(overrides=dict(row.overrides))
        assert config.tokenizer.kind == kinds[kind_name], row.name
        if scorer == "ttm":
            assert row.model == "two_tower"
        else:
            wanted = (scorer, int(tokens[0]) if tokens else 4)
            assert (config.scorer.kind, config.tokenizer.item_tokens) == wanted, row.name


def test_the_published_sasrec_reads_no_future() -> None:
    torch.manual_seed(0)
    model = PublishedSASRec(Settings(dim=8, dropout=0.0), 30).eval()
    states = model(torch.tensor([[1, 2, 3, 4], [1, 2, 9, 8]]), torch.arange(8)).view(2, 4, -1)
    torch.testing.assert_close(states[0, :2], states[1, :2])
    assert not torch.allclose(states[0, 2], states[1, 2])
