"""sparcode-es: recommendation retrieval on Elasticsearch with learned sparse codes (SparCode, SIGIR '23)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparcode_es.engines.base import Text
    from sparcode_es.engines.conditions import Dsl
    from sparcode_es.engines.plans import Limits
    from sparcode_es.serving.arrange import MaxPer, Mmr
    from sparcode_es.serving.ask import Ask
    from sparcode_es.serving.log import LogOptions, QueryLog
    from sparcode_es.serving.recommender import AsyncRecommender, Recommender
    from sparcode_es.serving.results import Item, Reason, Recommendations

__version__ = "0.1.0"
__all__ = [
    "Ask",
    "AsyncRecommender",
    "Dsl",
    "Item",
    "Limits",
    "LogOptions",
    "MaxPer",
    "Mmr",
    "QueryLog",
    "Reason",
    "Recommendations",
    "Recommender",
    "Text",
    "__version__",
]

_HOMES = {
    "Ask": "serving.ask",
    "AsyncRecommender": "serving.recommender",
    "Dsl": "engines.conditions",
    "Item": "serving.results",
    "Limits": "engines.plans",
    "LogOptions": "serving.log",
    "MaxPer": "serving.arrange",
    "Mmr": "serving.arrange",
    "QueryLog": "serving.log",
    "Reason": "serving.results",
    "Recommendations": "serving.results",
    "Recommender": "serving.recommender",
    "Text": "engines.base",
}


def __getattr__(name: str) -> Any:
    """A public name, imported when it is asked for: `import sparcode_es` alone imports nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
