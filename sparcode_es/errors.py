"""Every error that a user can meet, one tree.

A message is one sentence or two: what is wrong, where, and what to do next. Each class has its own exit code, which the
command line returns; 0 is success, 1 a defect of ours, 2 a usage error (click's), 130 an interrupt.
"""

from __future__ import annotations


class SparcodeError(Exception):
    """Base of all errors; its own code means a defect of ours: `SPARCODE_DEBUG=1` gives the traceback to report."""

    exit_code = 1


class ConfigError(SparcodeError):
    """A configuration file, preset or option is wrong: an unknown key, a value out of range."""

    exit_code = 3


class DataError(SparcodeError):
    """An input file or a data folder is wrong: missing column, bad row, damaged array, nothing left after filtering."""

    exit_code = 4


class NotFoundError(SparcodeError):
    """A user, item, index or generation that was asked for does not exist."""

    exit_code = 5


class CheckpointError(SparcodeError):
    """A checkpoint cannot be read: missing, truncated, or not one of ours."""

    exit_code = 6


class ArtifactError(SparcodeError):
    """A postings artifact cannot be read or used: missing, incomplete, failing its checksums."""

    exit_code = 7


class EngineUnavailableError(SparcodeError):
    """The engine cannot be reached, timed out, or kept answering 429 or 503 until the retries were used up."""

    exit_code = 8


class EngineAuthError(SparcodeError):
    """The engine refused the credentials (401), the rights (403) or we refused its certificate."""

    exit_code = 9


class EngineError(SparcodeError):
    """The engine answered, but not as needed: a wrong mapping, an alias that is an index, a field type it lacks."""

    exit_code = 10


class MismatchError(SparcodeError):
    """Two things that do not belong together: codes of one model and postings of another."""

    exit_code = 11


class VerificationError(SparcodeError):
    """The engine's answers are not the model's (`verify`), or an index failed its check before the swap."""

    exit_code = 12


class TrainingError(SparcodeError):
    """Training cannot go on: a collapsed codebook, a loss that is not a number."""

    exit_code = 13


class StorageError(SparcodeError):
    """A file or folder cannot be written: read-only, full, no permission, in another run's hands."""

    exit_code = 14


class MissingExtraError(SparcodeError):
    """A command needs a package that this install does not have; the message names the extra to install."""

    exit_code = 15

    @classmethod
    def of(cls, need: str, extra: str) -> MissingExtraError:
        """The error that says what is needed, and how the extra is installed in a checkout or from an index."""
        return cls(
            f"{need}, which this install lacks; install it in the checkout with: pip install -e '.[{extra}]', or from an index "
            f"with: pip install 'sparcode-es[{extra}]'"
        )
