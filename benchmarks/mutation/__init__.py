"""What `fuzz.py` and `tests/hostile` damage and read: seeds, mutations, targets, the worker that survives from case to case."""
