"""Making weights at night, from labelled data and from what was said on stream. It has no part in a running stream."""
