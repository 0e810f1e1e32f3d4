"""A live page over a recommender: who, their history and codes, what is recommended and why, two places side by side.

Needs the extra `serve`. Reads only; nothing of it needs the model but histories that are put together on the page.
"""
