"""A training's log for TensorBoard: each record that `log.jsonl` gets, as scalars of the epoch, or as text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from sparcode_es.config import Config, to_toml
from sparcode_es.errors import MissingExtraError
from sparcode_es.files import storage_errors

if TYPE_CHECKING:
    from typing_extensions import Self


class TensorBoard:
    """Listens to a training (`train(…, listen=…)`) and writes event files into `folder`; a resumed one adds a file.

    Scalars are called `STAGE/METRIC`, `_at_` in the place of `@`, which TensorBoard does not take; their step is the epoch.
    What belongs to no epoch, the weights tried and the report, is text.
    """

    def __init__(self, folder: Path, config: Config) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise MissingExtraError.of("logs for TensorBoard need tensorboardX", "tensorboard") from error
        self.folder = folder
        with storage_errors(folder):
            self._writer = SummaryWriter(str(folder))
            self._writer.add_text("config", f"```\n{to_toml(config)}```", 0)

    def __call__(self, record: Mapping[str, Any]) -> None:
        """Write one record of the log."""
        stage, epoch = str(record["stage"]), record.get("epoch")
        values = {key: value for key, value in record.items() if key not in ("stage", "epoch")}
        with storage_errors(self.folder):
            if epoch is None:
                self._writer.add_text(stage, "\n".join(f"- {key}: {value}" for key, value in values.items()), 0)
            else:
                for key, value in values.items():
                    self._writer.add_scalar(f"{stage}/{key.replace('@', '_at_')}", value, epoch)
            self._writer.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with storage_errors(self.folder):
            self._writer.close()
