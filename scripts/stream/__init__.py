"""The parts of ``market_stream.py``: where frames come from, what they mean, and how that is shown."""
