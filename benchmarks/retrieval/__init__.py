"""Parts of the speed benchmarks `speed_retrieval.py`, `speed_upload.py` and `speed_report.py`."""
