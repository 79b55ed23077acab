"""Twitch: what viewers do in one channel, and her replies. `source.py` is the way in, `replies.py` the way out."""
