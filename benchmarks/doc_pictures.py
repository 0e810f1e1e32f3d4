"""Every picture of the documentation: `make doc-pictures`.

The tutorial's shop is made and trained, loaded into a real Elasticsearch, and its Kibana panels are drawn from that server's
answers (`kibana_pictures.py`); the report and the live page are looked at in Chromium; the data flow is drawn by hand. Takes some
two minutes.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from browser import screenshot
from flow_picture import flow
from kibana_pictures import ALIAS, Chosen, draw_panels
from PIL import Image

from sparcode_es import Recommender
from sparcode_es.engines.node import LocalNode
from sparcode_es.postings.artifact import Artifact

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
LARGEST = 150_000
"""Bytes of one picture."""
CURVES = {"sparsity": "figure6-sparsity-item-codes-beauty.png", "quality": "quality-summary.png"}


def command(folder: Path, *words: str) -> None:
    """Run `sparcode-es` there."""
    subprocess.run([sys.executable, "-m", "sparcode_es_cli", *words], cwd=folder, check=True)


def make_shop(folder: Path) -> None:
    """The tutorial's steps 1 to 6; a training that was finished is not repeated."""
    folder.mkdir(parents=True, exist_ok=True)
    tutorial = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    program = re.search(r'```python title="shop.py"\n(.*?)```', tutorial, re.DOTALL)
    assert program is not None, "the tutorial has no shop.py"
    (folder / "shop.py").write_text(program[1], encoding="utf-8")
    subprocess.run([sys.executable, "shop.py"], cwd=folder, check=True)
    if not (folder / "data").exists():
        command(folder, "data", "import", "log.csv", "--items", "items.csv", "--out", "data/shop")
    command(folder, "train", "--data", "data/shop", "--out", "runs/shop", "--preset", "demo")
    command(folder, "postings", "build", "--checkpoint", "runs/shop/model.pt", "--data", "data/shop")
    report = ["--training", "runs/shop", "--postings", "runs/postings", "--checkpoint", "runs/shop/model.pt"]
    command(
        folder, "report", *report, "--user", "u1", "--user", "u7", "--title", "The bookshop", "--out", "report.html"
    )


def slim(path: Path, widest: int = 1200) -> None:
    """Keep at most 128 colours and `widest` pixels across: a third of the bytes, and no difference to the eye."""
    picture = Image.open(path).convert("RGB")
    picture.thumbnail((widest, 10_000))
    picture.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)


def kibana(folder: Path, version: str) -> None:
    """Load the shop's postings into a server, and draw each panel from what it answers."""
    with LocalNode(version, heap="512m") as node:
        command(folder, "index", "--url", node.url, "--index", ALIAS, "--store-codes")
        artifact = Artifact.open(folder / "runs" / "postings")
        with Recommender.from_elasticsearch(node.url, ALIAS) as recommender:
            first = recommender.recommend("u1", k=1, exclude_seen=True).items[0]
        for picture in draw_panels(node.url, artifact, Chosen("u1", first.id), PICTURES):
            slim(picture)


@contextmanager
def live_page(folder: Path) -> Iterator[str]:
    """The address of `sparcode-es ui` on the shop."""
    words = ["ui", "--postings", "runs/postings", "--checkpoint", "runs/shop/model.pt", "--port", "0"]
    program = [sys.executable, "-m", "sparcode_es_cli", *words]
    with subprocess.Popen(program, cwd=folder, stderr=subprocess.PIPE, text=True) as running:
        try:
            assert running.stderr is not None
            said = next((found for line in running.stderr if (found := re.search(r"http://\S+", line))), None)
            assert said is not None, "sparcode-es ui ended without an address"
            yield said[0]
        finally:
            running.terminate()


def pages(folder: Path) -> None:
    """The report in light and dark; the live page wide, and on a phone in the dark."""
    url = (folder / "report.html").resolve().as_uri()
    slim(screenshot(url, PICTURES / "report.png", 900, 1700))
    slim(screenshot(url, PICTURES / "report-dark.png", 900, 1700, dark=True))
    with live_page(folder) as address:
        slim(screenshot(f"{address}?user=u1", PICTURES / "ui.png", 1280, 900))
        slim(screenshot(f"{address}?user=u1", PICTURES / "ui-phone.png", 390, 844, dark=True))


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "doc-pictures", help="where the shop is trained")
    parser.add_argument("--version", default="9.4.5", help="of Elasticsearch")
    options = parser.parse_args()
    PICTURES.mkdir(exist_ok=True)
    (PICTURES / "flow.svg").write_text(flow(), encoding="utf-8")
    for name, file in CURVES.items():
        picture = PICTURES / f"{name}.png"
        picture.write_bytes((ROOT / "benchmarks" / "results" / file).read_bytes())
        slim(picture)
    make_shop(options.work)
    pages(options.work)
    kibana(options.work, options.version)
    for path in sorted(PICTURES.iterdir()):
        size = path.stat().st_size
        print(f"{path.relative_to(ROOT)}  {size:,} bytes{'  TOO LARGE' if size > LARGEST else ''}")


if __name__ == "__main__":
    main()
