"""Damage, drawn from a seeded generator: of bytes, of JSON-like values, of folders with a manifest."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

HUGE = (2**31 - 1, 2**31, 2**32, 2**40, 2**63 - 1, 2**63, 2**64, 10**30, -1, -(2**63), 0)
WORDS = (
    b"NaN", b"-Infinity", b"1e999", b"null", b"\xff\xfe", b"\xed\xa0\x80", b"\x00", b'"', b"'", b"\n", b"\r", b",,", b"::",
    b"[" * 3000, b'{"a":' * 3000, b"9" * 5000, b"-" * 40, b"\xf0\x9f\x92\xa5", b"=", b"[[", b"]]", b"#", b"\\u0000", b"../",
)  # fmt: skip


def mutate_bytes(rng: random.Random, content: bytes, most: int = 4) -> bytes:
    """One to `most` changes: bit flips, cuts, splices, swapped blocks, huge numbers, hostile words, repetition."""
    data = bytearray(content)
    for _ in range(rng.randint(1, most)):
        place = rng.randrange(len(data) + 1)
        length = rng.choice((1, 2, 4, 8, 64, 512))
        kind = rng.randrange(8)
        if kind == 0 and data:
            data[place % len(data)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del data[place:]
        elif kind == 2:
            other = rng.randrange(len(data) + 1)
            data[place:place] = data[other : other + length]
        elif kind == 3:
            del data[place : place + length]
        elif kind == 4:
            other = rng.randrange(len(data) + 1)
            one, two = data[place : place + length], data[other : other + length]
            data[place : place + len(two)], data[other : other + len(one)] = two, one
        elif kind == 5:
            number = rng.choice(HUGE) & (2**64 - 1)
            size = rng.choice((4, 8))
            data[place : place + size] = struct.pack("<Q", number)[:size]
        elif kind == 6:
            data[place:place] = rng.choice(WORDS)
        else:
            data[place : place + length] = rng.randbytes(length)
    return bytes(data)


def mutate_text(rng: random.Random, content: bytes) -> bytes:
    """Changes of lines and of cells: repeated, swapped, dropped, replaced by hostile words; or of bytes."""
    if rng.random() < 0.4:
        return mutate_bytes(rng, content)
    lines = content.split(b"\n")
    for _ in range(rng.randint(1, 4)):
        row = rng.randrange(len(lines))
        kind = rng.randrange(5)
        if kind == 0:
            lines.insert(row, rng.choice(lines))
        elif kind == 1:
            lines[row] = rng.choice(WORDS) + lines[row]
        elif kind == 2 and len(lines) > 1:
            del lines[row]
        else:
            separator = rng.choice((b",", b"\t", b" ", b"::", b"|", b"="))
            cells = lines[row].split(separator)
            cells[rng.randrange(len(cells))] = rng.choice((*WORDS, b"", str(rng.choice(HUGE)).encode()))
            lines[row] = separator.join(cells)
    return b"\n".join(lines)


def hostile_value(rng: random.Random) -> Any:
    """A value of any type that JSON has, and some that it should not have."""
    return rng.choice((
        None, True, False, 0, -1, 1, 0.5, float("nan"), float("inf"), -1e308, "", "a", "\x00", "\ud800", "x" * 5000, [], {}, [[]],
        {"": None}, [None, 1, "a"], {"a": {"b": []}}, "../../etc/passwd", *HUGE, deep(200), "1e999", "é💥",
    ))  # fmt: skip


def deep(levels: int) -> Any:
    """A list in a list in a list …"""
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


def mutate_value(rng: random.Random, value: Any, most: int = 3) -> Any:
    """A copy of nested dicts and lists with one to `most` places changed, dropped, doubled or renamed."""
    value = copy.deepcopy(value)
    for _ in range(rng.randint(1, most)):
        spots = list(_spots(value))
        if not spots:
            return hostile_value(rng)
        holder, key = rng.choice(spots)
        kind = rng.randrange(5)
        if kind == 0:
            del holder[key]
        elif kind == 1 and isinstance(holder, dict):
            holder[rng.choice(("", "x", f"{key}s", "\ud800", "__class__"))] = holder.pop(key)
        elif kind == 2 and isinstance(holder, list):
            holder.append(holder[key])
        elif kind == 3:
            holder[key] = holder[rng.choice([k for h, k in spots if h is holder])]
        else:
            holder[key] = hostile_value(rng)
    return value


def _spots(value: Any) -> Any:
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in list(keys):
        yield value, key
        yield from _spots(value[key])


def json_bytes(rng: random.Random, value: Any) -> bytes:
    """JSON of a mutated value, now and then with damaged bytes, a doubled key or no end to its depth."""
    text = json.dumps(mutate_value(rng, value) if rng.random() < 0.8 else value).encode("utf-8", "surrogatepass")
    kind = rng.random()
    if kind < 0.15:
        return mutate_bytes(rng, text)
    if kind < 0.2:
        return b'{"a":' * 20_000 + text
    if kind < 0.25 and text.startswith(b"{"):
        return text[:-1] + b"," + text[1:] if len(text) > 2 else text
    return text


SHAPES = ("(4611686018427387904,)", "(1099511627776,)", "(-1,)", "()", "(0,)", "(1, 1)", "(2, 9223372036854775807)")


def npy_header(rng: random.Random, content: bytes) -> bytes:
    """An array's file with another shape, type or order in its header, of the same length."""
    if content[:6] != b"\x93NUMPY" or len(content) < 10:
        return mutate_bytes(rng, content)
    size = struct.unpack("<H", content[8:10])[0]
    header, body = content[10 : 10 + size].decode("latin-1"), content[10 + size :]
    shape = rng.choice(SHAPES)
    kind = rng.choice(("|O", "<f8", ">u4", "<U9", "|V2147483647", "<u8", "|u1"))
    if rng.random() < 0.6:
        header = header.partition("'shape':")[0] + f"'shape': {shape}, }}"
    else:
        first, _, rest = header.partition("'descr': '")
        header = f"{first}'descr': '{kind}'{rest.partition(chr(39))[2]}"
    return content[:10] + header.ljust(size)[:size].encode("latin-1") + body


def mutate_folder(rng: random.Random, folder: Path) -> None:
    """Damage one to three files: bytes, headers, manifest, names, links; half of the time the manifest is made to fit again."""
    for _ in range(rng.randint(1, 3)):
        files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
        if not files:
            return
        rng.choice(CHANGES)(rng, rng.choice(files), files)
    if rng.random() < 0.6:
        reseal(folder)


def _damage(rng: random.Random, file: Path, _: list[Path]) -> None:
    content = file.read_bytes()
    if file.suffix in (".json", ".jsonl", ".toml", ".txt"):
        file.write_bytes(_damaged_json(rng, content) if file.suffix == ".json" else mutate_text(rng, content))
    elif file.suffix == ".npy" and rng.random() < 0.5 and len(content) > 128:
        file.write_bytes(
            content[:128] + mutate_bytes(rng, content[128:])[: len(content) - 128].ljust(len(content) - 128, b"\xff")
        )
    else:
        file.write_bytes(mutate_bytes(rng, content))


def _damaged_json(rng: random.Random, content: bytes) -> bytes:
    try:
        return json_bytes(rng, json.loads(content))
    except (ValueError, RecursionError):
        return mutate_bytes(rng, content)


def _header(rng: random.Random, file: Path, _: list[Path]) -> None:
    file.write_bytes(npy_header(rng, file.read_bytes()))


def _manifest(rng: random.Random, file: Path, files: list[Path]) -> None:
    named = next((each for each in files if each.name == "manifest.json"), file)
    _damage(rng, named, files)


def _remove(_: random.Random, file: Path, __: list[Path]) -> None:
    file.unlink()


def _rename(rng: random.Random, file: Path, files: list[Path]) -> None:
    file.rename(rng.choice(files))


def _link(rng: random.Random, file: Path, _: list[Path]) -> None:
    file.unlink()
    file.symlink_to(rng.choice((file.name, "/dev/null", "/nowhere", "..", "/proc/self/mem")))


def _folder(_: random.Random, file: Path, __: list[Path]) -> None:
    file.unlink()
    file.mkdir()


Change = Callable[[random.Random, Path, list[Path]], None]
CHANGES: tuple[Change, ...] = (
    _damage,
    _damage,
    _damage,
    _header,
    _header,
    _manifest,
    _manifest,
    _remove,
    _rename,
    _link,
    _folder,
)


def reseal(folder: Path) -> None:
    """Sizes and checksums of the manifest as the files are now, as somebody who means harm would."""
    try:
        manifest = json.loads((folder / "manifest.json").read_bytes())
        for name in manifest["files"]:
            content = (folder / name).read_bytes() if (folder / name).stat().st_size < 1 << 24 else b""
            manifest["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        (folder / "manifest.json").write_text(json.dumps(manifest))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return


def fresh(source: Path, target: Path) -> Path:
    """A copy to damage, in the place of the last one."""
    if target.is_symlink() or target.is_file():
        target.unlink()
    elif target.exists():
        shutil.rmtree(target)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    os.utime(target)
    return target
