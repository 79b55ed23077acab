"""Ids of messages within an address: their sources choose them, so that they may hold slashes and even line breaks."""

from starlette.convertors import Convertor, register_url_convertor


class _Whole(Convertor[str]):
    """Whatever is there, of which Starlette's `path` leaves line breaks out."""

    regex = r"[\s\S]+"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


def learn() -> None:
    """Let routes say `{name:whole}`."""
    register_url_convertor("whole", _Whole())
