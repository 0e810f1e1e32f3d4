"""Configuration: TOML in and out, unknown keys, wrong values, presets."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from sparcode_es.config import (
    Config,
    PostingsConfig,
    StageConfig,
    from_mapping,
    load_config,
    parse_toml,
    preset_names,
    read_by_model,
    to_toml,
)
from sparcode_es.errors import ConfigError


def test_toml_round_trip() -> None:
    config = load_config(overrides={"training.seed": 7, "scorer.hidden": [3, 4], "quantizer.codes": 99})
    assert from_mapping(Config, parse_toml(to_toml(config))) == config


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_loads_and_says_what_it_is(name: str) -> None:
    assert load_config(preset=name) != Config() or name == "beauty"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"training.sede": 1}, "did you mean training.seed"),
        ({"quantiser.codes": 1}, "did you mean quantizer"),
        ({"xyzzy": 1}, "known keys"),
        ({"quantizer.codes": "many"}, "quantizer.codes must be int"),
        ({"quantizer.codes": True}, "quantizer.codes must be int"),
        ({"quantizer.codes": 1}, "N"),
        ({"tokenizer.kind": "transformer"}, "self_attention"),
        ({"tokenizer.tokens": 11}, "1…10"),
        ({"tokenizer.dim": 63}, "multiple of attention_heads"),
        ({"tokenizer.dropout": 1.0}, "dropout"),
        ({"scorer.hidden": []}, "one or more"),
        ({"tokenizer.hidden": [8, -1]}, "positive"),
        ({"scorer.hidden": 5}, "list"),
        ({"scorer": 5}, "table"),
        ({"loss.temperature": 0.0}, "temperature"),
        ({"training.metric": "auc@50"}, "recall@k"),
        ({"quantizer.codebooks": 2, "quantizer.assignment": "nearest"}, "memory"),
        ({"training.device": "tpu"}, "cuda"),
        ({"two_tower.untied_items": True}, "for model two_tower, not sparcode"),
        ({"training.amp": True, "training.device": "cpu"}, "amp needs CUDA"),
        ({"quantizer.gradient": "soft"}, "freeze_tokenizer = false"),
        ({"quantizer.commitment": 1.0}, "does nothing"),
        ({"quantizer.codebooks": 3, "quantizer.assignment": "nearest", "scorer.memory": False}, "multiple"),
        ({"all_to_all.layers": 0}, "all_to_all.layers"),
        ({"model": "all_to_all", "all_to_all.attention_heads": 3}, "multiple of all_to_all.attention_heads"),
        ({"model": "all_to_all", "tokenizer.kind": "capsule", "tokenizer.tokens": 2}, "use 'late'"),
        ({"tdm.branching": 1}, "tdm.branching"),
        ({"tdm.hidden": []}, "tdm.hidden"),
    ],
)
def test_mistakes_are_named(overrides: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_config(overrides=overrides)


def test_one_key_of_a_stage_leaves_its_other_defaults() -> None:
    config = load_config(overrides={"all_to_all.stage.epochs": 3, "tdm.stage.epochs": 3})
    assert config.all_to_all.stage == replace(Config().all_to_all.stage, epochs=3)
    assert config.tdm.stage == replace(Config().tdm.stage, epochs=3)


def test_later_sources_win(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[quantizer]\ncodes = 77\n[training]\nseed = 5\n")
    config = load_config(path, preset="ml-100k", overrides={"training.seed": 6})
    assert (config.quantizer.codes, config.training.seed, config.tokenizer.dropout) == (77, 6, 0.4)


@pytest.mark.parametrize("content", [b"[quantizer\n", b"\xff\xfe"])
def test_a_broken_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"mine\.toml"):
        load_config(path)


def test_a_missing_file_and_preset_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        load_config(tmp_path / "nowhere.toml")
    with pytest.raises(ConfigError, match="there are"):
        load_config(preset="nothing")


def test_postings_take_bias_or_sparsity_not_both() -> None:
    with pytest.raises(ConfigError, match="not both"):
        PostingsConfig(bias=0.0, sparsity=0.5)
    with pytest.raises(ConfigError, match="sparsity"):
        PostingsConfig(sparsity=1.0)


def test_a_floor_under_a_bias_alone_is_refused() -> None:
    for bias in ({}, {"sparsity": 0.9}, {"bias": -1.0}):
        with pytest.raises(ConfigError, match="use cut 'traffic', or a maximum"):
            PostingsConfig(min_codes_per_item=3, **bias)
        assert PostingsConfig(min_codes_per_item=3, max_codes_per_item=9, **bias).min_codes_per_item == 3
    assert PostingsConfig(min_codes_per_item=3, sparsity=0.9, cut="traffic").min_codes_per_item == 3


def test_epochs_are_more_on_a_small_log() -> None:
    assert [StageConfig().epochs_for(steps) for steps in (0, 1, 10, 75, 1000)] == [400, 400, 280, 38, 16]
    assert StageConfig(epochs=3).epochs_for(1) == 3
    assert StageConfig(stop_after=600).epochs_for(1) == 600
    with pytest.raises(ConfigError, match="stop_after"):
        StageConfig(stop_after=3, epochs=2)


def test_one_key_of_a_stage_leaves_the_others_at_their_defaults() -> None:
    changed = load_config(overrides={"training.codes.epochs": 3}).training.codes
    assert (changed.epochs, changed.learning_rate, changed.batch_size) == (3, 1e-3, 256)


def test_what_a_model_does_not_read_makes_no_other_training() -> None:
    plain = load_config()
    for key, value in {"melu.dim": 64, "tdm.beam": 10, "latents.dim": 8, "all_to_all.layers": 2}.items():
        assert read_by_model(load_config(overrides={key: value})) == read_by_model(plain)
    for value in ({"model": "two_tower"}, {"item_codes.latest": 0}):
        without = load_config(overrides=value)
        assert read_by_model(load_config(overrides={**value, "item_codes.window": 7})) == read_by_model(without)
    for key in ("tokenizer.dim", "item_codes.window"):
        assert read_by_model(load_config(overrides={key: 32})) != read_by_model(plain)
    for model, key in (("melu", "melu.dim"), ("tdm", "tdm.beam"), ("dropoutnet", "latents.dim")):
        changed = load_config(overrides={"model": model, key: 7})
        assert read_by_model(changed) != read_by_model(load_config(overrides={"model": model}))


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_number_that_is_none_is_refused(value: float) -> None:
    with pytest.raises(ConfigError, match=r"training\.tower\.learning_rate must be a finite number"):
        load_config(overrides={"training.tower.learning_rate": value})
    with pytest.raises(ConfigError, match="bias must be a finite number"):
        PostingsConfig(bias=value)
