"""The process that loads an index: killed −9, its requests refused for a while, its answers lost."""

from __future__ import annotations

import random
import signal
import subprocess
import time

from resilience.command import environment, index, index_command
from resilience.outcome import Outcome
from resilience.proxy import FaultProxy, bulks_for, every, first_of_each
from resilience.world import World, count_lost
from sparcode_es.engines.elasticsearch.connection import ConnectionConfig, Server
from sparcode_es.engines.elasticsearch.layout import aliases_of, generations, live_generation
from sparcode_es.serving.recommender import Recommender


def killed(url: str, world: World, kills: int, seed: int = 0, name: str = "killed") -> Outcome:
    """`index` killed −9 at random moments of its run; after each, the answers are judged, and at the end it is run whole."""
    outcome, server, rng = Outcome("writer killed -9"), Server(ConnectionConfig(url=url)), random.Random(seed)
    begun = time.monotonic()
    outcome.command(index(url, name, world.artifacts[0]), 0)
    seconds = time.monotonic() - begun
    runs = 0
    while outcome.cases < kills:
        runs += 1
        wanted = world.artifacts[runs % 2]
        child = subprocess.Popen(
            index_command(url, name, wanted),
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(rng.uniform(0.1, 1.0) * seconds)
        where = moment(server, name)
        child.send_signal(signal.SIGKILL)
        if child.wait() == -signal.SIGKILL:
            outcome.seen[f"killed {where}"] += 1
            outcome.cases += 1
        else:
            seconds *= 0.8  # it had ended: the machine is quicker now
        world.ask_all(url, name, outcome)
        count_live(server, name, world, outcome)
    outcome.command(index(url, name, world.artifacts[0]), 0)
    judge_finished(url, name, world, 0, outcome)
    return outcome


def moment(server: Server, name: str) -> str:
    """Where a run of `index` is."""
    found = generations(server, name)
    loading = [suffix for suffix, meta in found.items() if meta.get("state") != "ready"]
    if not loading:
        return "before or after its writes"
    if live_generation(server, name) in loading:
        return "after the swap"
    stats = server.call("GET", f"/{name}*-{loading[-1]}/_stats/indexing")
    primaries = stats["_all"]["primaries"]  # empty until a shard of the new index has started
    written = primaries and primaries["indexing"]["index_total"]
    return "after documents were written" if written else "before documents"


def count_live(server: Server, name: str, world: World, outcome: Outcome) -> None:
    """Count what the live generation lacks of the artifact that its name says it holds, and aliases that disagree."""
    live = {str(live_generation(server, alias)) for alias in aliases_of(name)}
    digest = str(live_generation(server, name)).rpartition("-")[2]
    held = [artifact for artifact in world.artifacts if artifact.generation_hash == digest]
    if len(live) != 1 or not held:
        outcome.mixed += 1
        return
    count_lost(server, name, held[0], outcome)


def judge_finished(url: str, name: str, world: World, which: int, outcome: Outcome) -> None:
    """After a run that ended well: its artifact is live, whole, answered by nothing else, and nothing unfinished is left."""
    server = Server(ConnectionConfig(url=url))
    count_lost(server, name, world.artifacts[which], outcome)
    world.ask_all(url, name, outcome, world.artifacts[which])
    outcome.lost += sum(meta.get("state") != "ready" for meta in generations(server, name).values())
    server.close()


def refused(url: str, world: World, seconds: float, name: str = "refused") -> Outcome:
    """Every bulk answered with 429, 503, or 429 a document, for `seconds`: `index` goes on and ends well."""
    outcome = Outcome("bulks answered with 429 and 503")
    with FaultProxy(url, bulks_for(seconds, (429, 503, "refused"))) as proxy:
        outcome.command(index(proxy.url, name, world.artifacts[0]), 0)
        outcome.cases = sum(proxy.made.values())
        outcome.seen.update({f"answered {fault}": count for fault, count in proxy.made.items()})
    judge_finished(url, name, world, 0, outcome)
    return outcome


def refused_for_ever(url: str, world: World, name: str = "refused") -> Outcome:
    """The same without end: `index` says so and gives up, and the generation before answers on."""
    outcome = Outcome("bulks refused for ever", cases=1)
    with FaultProxy(url, bulks_for(3600.0, (429, "refused"))) as proxy:
        outcome.command(index(proxy.url, name, world.artifacts[1]), 8)
    judge_finished(url, name, world, 0, outcome)
    return outcome


WAYS = ((0, ("cut", "lost", "drop")), (1, ("lost",)), (0, ("cut",)))


def cut_while_writing(url: str, world: World, name: str = "cut", rounds: int = len(WAYS)) -> Outcome:
    """The first answer to each request of `index` is cut, lost or never asked for: what was done is not done twice."""
    outcome = Outcome("answers cut while writing")
    for which, faults in WAYS[:rounds]:
        with FaultProxy(url, first_of_each(faults)) as proxy:
            outcome.command(index(proxy.url, name, world.artifacts[which]), 0)
            _count(outcome, proxy)
        judge_finished(url, name, world, which, outcome)
    return outcome


def cut_while_reading(url: str, world: World, asked: int, name: str = "cut") -> Outcome:
    """Every third answer to a reader is cut in its middle, lost, or 429 or 503; single recommendations and batches."""
    outcome = Outcome("answers cut while reading")
    with FaultProxy(url, every(3, ("cut", 503, "lost", 429, "drop"))) as proxy:
        with Recommender.from_elasticsearch(proxy.url, name) as recommender:
            while outcome.seen["asked"] < asked:
                users = [world.users[(outcome.seen["asked"] + i) % len(world.users)] for i in range(20)]
                answers = [recommender.recommend(user) for user in users[:10]]
                answers += recommender.recommend_many(users[10:])
                for user, answer in zip(users, answers, strict=True):
                    world.judge(user, answer, outcome)
                outcome.seen["asked"] += len(users)
        _count(outcome, proxy)
    return outcome


def _count(outcome: Outcome, proxy: FaultProxy) -> None:
    outcome.cases += sum(proxy.made.values())
    outcome.seen.update({f"answers {fault}": count for fault, count in proxy.made.items()})
