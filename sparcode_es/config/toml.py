"""Configurations from TOML and back: unknown keys are refused with the nearest known one; presets."""

from __future__ import annotations

import dataclasses
import difflib
import math
import sys
import types
import typing
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

import tomli_w

from sparcode_es.config.whole import Config
from sparcode_es.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


T = TypeVar("T")

READERS = {
    **{name: {name} for name in ("two_tower", "all_to_all", "tdm", "dropoutnet", "melu", "deezernet")},
    "quantizer": {"sparcode"},
    "item_codes": {"sparcode"},
    "latents": {"dropoutnet", "deezernet"},
}
"""Table → the models that read it; all models read the others."""
DEEPEST = 32
"""Levels of tables and lists that are read. A configuration has four; what is nested without end would overflow the stack."""


def from_mapping(cls: type[T], values: Mapping[str, Any], where: str = "") -> T:
    """Make the dataclass `cls` from nested tables. Raises `ConfigError` for unknown and missing keys and wrong types."""
    hints = typing.get_type_hints(cls)
    known = {_key(f): f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    arguments = {}
    for key, value in values.items():
        path = f"{where}{key}"
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {where}{near[0]}?" if near else f"known keys: {', '.join(known)}"
            raise ConfigError(f"unknown configuration key {path}; {hint}")
        arguments[known[key].name] = _convert(hints[known[key].name], value, path)
    for key, f in known.items():
        if f.name not in arguments and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{where}{key} is missing")
    return cls(**arguments)


def _key(field: dataclasses.Field[Any]) -> str:
    """A field's key in a table: `from_` is called `from` there, which Python keeps for itself."""
    return field.name.removesuffix("_")


def _convert(hint: Any, value: Any, path: str) -> Any:
    """`value` as the annotated type, or `ConfigError`."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return None if value is None else _convert(next(a for a in args if a is not type(None)), value, path)
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{path} must be a table, not {value!r}")
        return from_mapping(hint, value, f"{path}.")  # type: ignore[arg-type]
    if origin is Literal:
        if value not in args:
            raise ConfigError(f"{path} must be one of {', '.join(map(str, args))}, not {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{path} must be a list, not {value!r}")
        return tuple(_convert(args[0], v, f"{path}[{i}]") for i, v in enumerate(value))
    if origin is Mapping:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{path} must be a table, not {value!r}")
        return {key: _convert(args[1], v, f"{path}.{key}") for key, v in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{path} must be a finite number, not {value}")
    if isinstance(value, bool) is not (hint is bool) or not isinstance(value, hint):
        raise ConfigError(f"{path} must be {hint.__name__}, not {value!r}")
    return value


def to_mapping(config: Any) -> dict[str, Any]:
    """Nested plain tables of a dataclass. Without its None values (TOML has none), but for those of fields without a default,
    which `from_mapping` asks for."""
    values = ((f, getattr(config, f.name)) for f in dataclasses.fields(config))
    return {_key(f): _plain(value) for f, value in values if value is not None or f.default is dataclasses.MISSING}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_mapping(value)
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


def read_by_model(config: Config) -> dict[str, Any]:
    """The configuration without the tables and keys that its model does not read: two with the same are the same training."""
    tables = to_mapping(config)
    if not config.item_codes.latest:
        tables["item_codes"] = {"latest": 0}
    return {key: value for key, value in tables.items() if config.model in READERS.get(key, {config.model})}


def to_toml(config: Any) -> str:
    """The config as TOML text; `from_mapping(cls, parse_toml(text))` gives it back."""
    return tomli_w.dumps(to_mapping(config))


def parse_toml(text: str, where: str = "the configuration") -> dict[str, Any]:
    """TOML text as nested tables. Raises `ConfigError` with the line."""
    try:
        found: dict[str, Any] = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where} is not TOML: {error}") from error
    _check_depth(found, where)
    return found


def _check_depth(value: Any, where: str) -> None:
    """Raise `ConfigError` where a level lies below `DEEPEST` others."""
    level = [value]
    for _ in range(DEEPEST):
        inside = (each.values() if isinstance(each, Mapping) else each for each in level)
        level = [part for parts in inside for part in parts if isinstance(part, (Mapping, list, tuple))]
    if level:
        raise ConfigError(f"{where} is nested more than {DEEPEST} levels deep")


def preset_names() -> list[str]:
    """The presets that ship with the package."""
    folder = resources.files("sparcode_es.presets")
    return sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml"))


def load_config(
    path: Path | None = None, preset: str | None = None, overrides: Mapping[str, Any] | None = None
) -> Config:
    """Preset, then file, then overrides (`{"training.seed": 3}`), each over the one before."""
    values: dict[str, Any] = {}
    if preset is not None:
        if preset not in preset_names():
            raise ConfigError(f"unknown preset {preset!r}; there are: {', '.join(preset_names())}")
        text = resources.files("sparcode_es.presets").joinpath(f"{preset}.toml").read_text(encoding="utf-8")
        _merge(values, parse_toml(text, f"preset {preset}"))
    if path is not None:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read the configuration {path}: {error}") from error
        _merge(values, parse_toml(text, str(path)))
    for key, value in (overrides or {}).items():
        nested: Any = value
        for part in reversed(key.split(".")):
            nested = {part: nested}
        _check_depth(nested, key if len(key) < 80 else f"{key[:80]}…")
        _merge(values, nested)
    return from_mapping(Config, values)


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        else:
            base[key] = dict(value) if isinstance(value, Mapping) else value
