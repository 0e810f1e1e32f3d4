"""What `load.py` and its tests measure with."""
