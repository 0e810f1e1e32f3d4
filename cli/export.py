"""`sparcode-es export`: the encoder of histories as one file that needs no torch."""

from __future__ import annotations

import json
from pathlib import Path

import click
from sparcode_es_cli.options import PATH, json_option


@click.command(
    epilog="\b\nExample:\n  sparcode-es export --checkpoint runs/mine/model.pt --out runs/mine/encoder.onnx\n"
    '  sparcode-es query --history "i3 i17 i8" --encoder runs/mine/encoder.onnx'
)
@click.option("--checkpoint", type=PATH, required=True, help="model.pt of `sparcode-es train`.")
@click.option("--out", type=PATH, required=True, help="The file to write, encoder.onnx say.")
@json_option()
def command(checkpoint: Path, out: Path, as_json: bool) -> None:
    """Write the model's encoder of histories as ONNX, for `query --encoder` on an install without torch."""
    from sparcode_es_cli.extras import need_training

    need_training()
    from sparcode_es.serving.encoder import HistoryEncoder
    from sparcode_es.serving.export import export_encoder

    encoder = HistoryEncoder.from_checkpoint(checkpoint)
    export_encoder(encoder.model, encoder.item_ids, out)
    model, size = encoder.hashes[0], out.stat().st_size
    if as_json:
        click.echo(json.dumps({"encoder": str(out), "model_hash": model, "bytes": size}))
    else:
        click.echo(f"{out}: encoder of model {model}, {size:,} bytes")
