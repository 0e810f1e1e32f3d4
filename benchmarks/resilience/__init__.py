"""Faults made on purpose against real servers, and what came of them: used by `faults.py` and by tests/resiliency."""
