"""What an event is for: the labels of a split."""

TRAIN, VALID, TEST, CONTEXT = 0, 1, 2, 3
"""Labels of events. CONTEXT is history only: neither trained on nor asked for."""
LABEL_NAMES = {TRAIN: "train", VALID: "valid", TEST: "test", CONTEXT: "context"}
