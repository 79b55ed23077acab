"""Whether somebody whose words were learnt from wants that no more. Reads, decides nothing."""

import json
from collections.abc import Iterable
from pathlib import Path

from vtuber_brain.transcripts.export import reading

_WITHDRAWN = """
SELECT 1 FROM messages m JOIN turns t USING (stream_id, source, message_id)
WHERE m.stream_id IN (SELECT value FROM json_each(:streams)) AND (m.forgotten_at > :since OR EXISTS (
    SELECT 1 FROM consent c WHERE c.source = m.source AND c.author_id = m.author_id AND c.choice = 'out'
        AND c.at > :since AND c.id = (SELECT max(id) FROM consent WHERE source = c.source AND author_id = c.author_id)))
LIMIT 1
"""


def withdrawn_since(path: Path, streams: Iterable[int], since: float) -> bool:
    """Whether a viewer who was answered in `streams` was forgotten or opted out after `since` (Unix time, s).

    Raises ConfigError when the file cannot be read.
    """
    with reading(path) as database:
        told = {"streams": json.dumps(list(streams)), "since": since}
        return database.execute(_WITHDRAWN, told).fetchone() is not None
