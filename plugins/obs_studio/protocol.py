"""The obs-websocket 5 protocol as frames: greeting, requests, events, and what each code means. No socket.

Written to the published description, github.com/obsproject/obs-websocket, docs/generated/protocol.md.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Any

RPC_VERSION = 1
SUBPROTOCOL = "obswebsocket.json"
SUBSCRIPTIONS = 1 | 2 | 8
"""Events of the categories General (OBS is ending), Config (another scene collection) and Inputs (mute)."""

SUCCESS = 100


class Op(IntEnum):
    """What a frame is."""

    HELLO = 0
    IDENTIFY = 1
    IDENTIFIED = 2
    EVENT = 5
    REQUEST = 6
    RESPONSE = 7


class Handling(Enum):
    """What is done about a request that failed."""

    LATER = "tried again after half a second"
    TELL = "health tells why; tried again every 2 s, for somebody may mend it in OBS"
    LEAVE = "left out, and the log says so; what comes next is tried again"
    QUIET = "left out, as it has to be"


@dataclass(frozen=True, slots=True)
class Known:
    """A status of a request: its published name, what it means to an operator, and what is done."""

    name: str
    meaning: str
    handling: Handling


CODES: Mapping[int, Known] = {
    203: Known("MissingRequestType", "it cannot read what we send", Handling.LEAVE),
    204: Known("UnknownRequestType", "this OBS does not know the request", Handling.LEAVE),
    205: Known("GenericError", "OBS failed at it", Handling.LEAVE),
    207: Known("NotReady", "OBS is loading, or changing its scene collection", Handling.LATER),
    300: Known("MissingRequestField", "it misses something in what we send", Handling.LEAVE),
    301: Known("MissingRequestData", "it misses something in what we send", Handling.LEAVE),
    400: Known("InvalidRequestField", "it refuses something in what we send", Handling.LEAVE),
    401: Known("InvalidRequestFieldType", "it refuses something in what we send", Handling.LEAVE),
    402: Known("RequestFieldOutOfRange", "it refuses something in what we send", Handling.LEAVE),
    403: Known("RequestFieldEmpty", "it refuses something in what we send", Handling.LEAVE),
    404: Known("TooManyRequestFields", "it refuses something in what we send", Handling.LEAVE),
    500: Known("OutputRunning", "an output runs", Handling.LEAVE),
    501: Known("OutputNotRunning", "nothing is being streamed", Handling.QUIET),
    502: Known("OutputPaused", "an output is paused", Handling.QUIET),
    503: Known("OutputNotPaused", "an output is not paused", Handling.LEAVE),
    504: Known("OutputDisabled", "an output is turned off", Handling.QUIET),
    505: Known("StudioModeActive", "studio mode is on", Handling.LEAVE),
    506: Known("StudioModeNotActive", "studio mode is off", Handling.LEAVE),
    600: Known("ResourceNotFound", "OBS has no source or scene of the name in the settings", Handling.TELL),
    602: Known("InvalidResourceType", "the name in the settings is one of something else", Handling.TELL),
    604: Known("InvalidResourceState", "the source is not in a state for it (has it any sound?)", Handling.TELL),
    605: Known("InvalidInputKind", "the source in the settings is of another kind", Handling.TELL),
    700: Known("ResourceCreationFailed", "OBS failed at it", Handling.LEAVE),
    701: Known("ResourceActionFailed", "OBS failed at it", Handling.LATER),
    702: Known("RequestProcessingFailed", "OBS failed at it", Handling.LATER),
    703: Known("CannotAct", "OBS cannot do that", Handling.LEAVE),
}
"""Those that our requests can get. Any other is left out like LEAVE, and told with its number."""


@dataclass(frozen=True, slots=True)
class Farewell:
    """Why OBS closed a connection: the published name, what it means, and whether to come back by ourselves."""

    name: str
    meaning: str
    comes_back: bool


CLOSES: Mapping[int, Farewell] = {
    4000: Farewell("UnknownReason", "OBS closed the connection and does not say why", True),
    4002: Farewell("MessageDecodeError", "OBS cannot read what we send", False),
    4003: Farewell("MissingDataField", "OBS misses something in what we send", False),
    4004: Farewell("InvalidDataFieldType", "OBS refuses something in what we send", False),
    4005: Farewell("InvalidDataFieldValue", "OBS refuses something in what we send", False),
    4006: Farewell("UnknownOpCode", "OBS does not know what we send", False),
    4007: Farewell("NotIdentified", "OBS says that we did not log in", False),
    4008: Farewell("AlreadyIdentified", "OBS says that we logged in twice", False),
    4009: Farewell("AuthenticationFailed", "the password is not the one of OBS", False),
    4010: Farewell("UnsupportedRpcVersion", "this OBS speaks another version of the protocol", False),
    4011: Farewell("SessionInvalidated", "somebody has kicked us out in OBS", False),
    4012: Farewell("UnsupportedFeature", "OBS cannot do that here", False),
}


class NotTheProtocol(ValueError):
    """The other side sent what is no frame of obs-websocket 5."""


class NeedsPassword(Exception):
    """OBS asks for a password, and the settings have none."""


class RequestFailed(Exception):
    """OBS turned a request down. It carries the code only: its comment may quote what we sent."""

    def __init__(self, code: int) -> None:
        self.code = code
        self.known = CODES.get(code, Known(f"code {code}", "a code this program does not know", Handling.LEAVE))
        super().__init__(f"{self.known.meaning} (code {code})")


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: what it is, and its data."""

    op: int
    data: Mapping[str, Any]


def parse(text: str | bytes) -> Frame:
    """A frame. Fields that are not known are no matter. Raises NotTheProtocol."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise NotTheProtocol("it sent what is no JSON: is that OBS?") from None
    match found:
        case {"op": int(op), "d": dict(data)}:
            return Frame(op, data)
    raise NotTheProtocol("it sent what is no frame of obs-websocket 5: is that OBS?")


def identify(hello: Mapping[str, Any], password: str | None) -> str:
    """The answer to OBS's greeting. Raises NotTheProtocol and NeedsPassword."""
    data: dict[str, Any] = {"rpcVersion": RPC_VERSION, "eventSubscriptions": SUBSCRIPTIONS}
    match hello.get("authentication"):
        case None:
            pass
        case {"challenge": str(challenge), "salt": str(salt)}:
            if not password:
                raise NeedsPassword
            data["authentication"] = proof(password, salt, challenge)
        case _:
            raise NotTheProtocol("its greeting is none of obs-websocket 5")
    return json.dumps({"op": Op.IDENTIFY, "d": data})


def proof(password: str, salt: str, challenge: str) -> str:
    """What shows that one knows the password without sending it."""
    return _hashed(_hashed(password + salt) + challenge)


def request(kind: str, number: str, data: Mapping[str, Any]) -> str:
    """A request as JSON."""
    return json.dumps({"op": Op.REQUEST, "d": {"requestType": kind, "requestId": number, "requestData": dict(data)}})


def failure_in(response: Mapping[str, Any]) -> RequestFailed | None:
    """Why a request failed, if it did."""
    match response.get("requestStatus"):
        case {"result": True}:
            return None
        case {"code": int(code)}:
            return RequestFailed(code)
    return RequestFailed(0)


def _hashed(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
