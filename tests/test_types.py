"""The public API as a type checker sees it, from a user's program."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
from sparcode_es import Ask, AsyncRecommender, Dsl, Item, Limits, MaxPer, Mmr, Recommendations, Recommender, Text

def titles(url: str) -> list[str | None]:
    with Recommender.from_elasticsearch(url, "recs", limits=Limits(budget=0.5)) as recommender:
        answer: Recommendations = recommender.recommend(
            "u1", k=20, page=2, filter={"genre": ["Drama"], "year": {"gte": 1990}}, exclude={"i1"}, exclude_seen=True,
            boost={"genre": {"Drama": 1.5}}, pin={1: "i9"}, diversify=MaxPer("genre", 3), text=Text("star"), explain=True)
        for reason in recommender.reasons(answer, answer.items[0]):
            print(reason.term, reason.given + 1.0)
        many: list[Recommendations] = recommender.recommend_many(["u1", Ask.of("u2", diversify=Mmr())], k=5)
        if many[0].source == "popular":
            print(many[0].reason)
    return [item.title for item in answer]

async def first(url: str) -> Item:
    async with AsyncRecommender.from_elasticsearch(url, "recs") as recommender:
        return (await recommender.recommend(history=["i1"], filter=Dsl({"match_all": {}}))).items[0]
"""
WRONG = """
from sparcode_es import Recommender
recommender = Recommender.from_artifact("postings")
recommender.recommend("u1", k="ten")
recommender.recommend("u1", colour="red")
recommender.recommend("u1").items = ()
recommender.recommend("u1").source == "elsewhere"
"""


def check(tmp_path: Path, program: str) -> subprocess.CompletedProcess[str]:
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not installed; the extra dev has it")
    (tmp_path / "program.py").write_text(program, encoding="utf-8")
    root = Path(__file__).parent.parent
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--config-file=", "program.py"]
    environment = {"MYPYPATH": str(root), "PATH": ""}
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_users_program_is_strictly_typed(tmp_path: Path) -> None:
    done = check(tmp_path, PROGRAM)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_a_wrong_program_is_not(tmp_path: Path) -> None:
    done = check(tmp_path, WRONG)
    assert [line.partition(":")[2].partition(":")[0] for line in done.stdout.splitlines() if ": error:" in line] == [
        "4",
        "5",
        "6",
        "7",
    ], done.stdout
