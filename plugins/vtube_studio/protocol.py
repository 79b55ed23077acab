"""VTube Studio's public API 1.0 as frames: what is asked, what comes back, and what each error means. No socket.

Written to the published description, github.com/DenchiSoft/VTubeStudio: README, Events, Files/ErrorID.cs.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

API_NAME, API_VERSION = "VTubeStudioPublicAPI", "1.0"
PLUGIN_NAME = PLUGIN_DEVELOPER = "vtuber-brain"
"""Who asks for access. Changing one makes every token that was given worthless."""

BROADCAST = "VTubeStudioAPIStateBroadcast"
MODEL_LOADED = "ModelLoadedEvent"
DENIED = 50
MAX_FRAME_CHARS = 4 * 2**20
"""A model with hundreds of hotkeys and expressions stays far below."""


class Handling(Enum):
    """What is done about an error."""

    AGAIN = "the connection is closed and made anew after a pause"
    STOP = "given up until the next reload; health tells why"
    REST = "the face is left alone for 2 s, then tried again; health tells why"
    SKIP = "this one thing is left out; the log says so once a connection"


@dataclass(frozen=True, slots=True)
class Known:
    """An error of the API: its published name, what it means to an operator, and what is done."""

    name: str
    meaning: str
    handling: Handling


ERRORS: Mapping[int, Known] = {
    0: Known("InternalServerError", "VTube Studio failed at it", Handling.SKIP),
    1: Known("APIAccessDeactivated", "plugin API access is turned off in VTube Studio's settings", Handling.AGAIN),
    2: Known("JSONInvalid", "it cannot read what we send", Handling.STOP),
    3: Known("APINameInvalid", "it speaks another API", Handling.STOP),
    4: Known("APIVersionInvalid", "it speaks another version than 1.0", Handling.STOP),
    5: Known("RequestIDInvalid", "it refuses our request's number", Handling.STOP),
    6: Known("RequestTypeMissingOrEmpty", "it cannot read what we send", Handling.STOP),
    7: Known("RequestTypeUnknown", "this VTube Studio is too old for the request", Handling.SKIP),
    8: Known("RequestRequiresAuthentication", "it has forgotten that we are logged in", Handling.AGAIN),
    50: Known("TokenRequestDenied", "access was denied, or taken back, in VTube Studio", Handling.STOP),
    51: Known("TokenRequestCurrentlyOngoing", "it is asking about a plugin already", Handling.AGAIN),
    52: Known("TokenRequestPluginNameInvalid", "it refuses our name", Handling.STOP),
    53: Known("TokenRequestDeveloperNameInvalid", "it refuses our developer's name", Handling.STOP),
    54: Known("TokenRequestPluginIconInvalid", "it refuses our icon", Handling.STOP),
    100: Known("AuthenticationTokenMissing", "it found no token in our login", Handling.STOP),
    101: Known("AuthenticationPluginNameMissing", "it found no name in our login", Handling.STOP),
    102: Known("AuthenticationPluginDeveloperMissing", "it found no developer in our login", Handling.STOP),
    200: Known("HotkeyQueueFull", "32 hotkeys wait already", Handling.SKIP),
    201: Known("HotkeyExecutionFailedBecauseNoModelLoaded", "no model is loaded", Handling.SKIP),
    202: Known("HotkeyIDNotFoundInModel", "the model has no hotkey of that name", Handling.SKIP),
    203: Known("HotkeyCooldownNotOver", "the hotkey was triggered a moment ago", Handling.SKIP),
    204: Known("HotkeyIDFoundButHotkeyDataInvalid", "the hotkey's file is missing or broken", Handling.SKIP),
    205: Known("HotkeyExecutionFailedBecauseBadState", "a window that is open prevents it", Handling.SKIP),
    206: Known("HotkeyUnknownExecutionFailure", "VTube Studio does not say why", Handling.SKIP),
    207: Known("HotkeyExecutionFailedBecauseLive2DItemNotFound", "there is no such item", Handling.SKIP),
    208: Known(
        "HotkeyExecutionFailedBecauseLive2DItemsDoNotSupportThisHotkeyType", "items have no such hotkeys", Handling.SKIP
    ),
    450: Known("InjectDataNoDataProvided", "it found no values in what we send", Handling.STOP),
    451: Known("InjectDataValueInvalid", "a value is outside of what is allowed", Handling.STOP),
    452: Known("InjectDataWeightInvalid", "a weight is outside of 0 to 1", Handling.STOP),
    453: Known("InjectDataParamNameNotFound", "there is no parameter of a name in the settings", Handling.REST),
    454: Known("InjectDataParamControlledByOtherPlugin", "another plugin moves the same parameter", Handling.REST),
    455: Known("InjectDataModeUnknown", "it does not know the mode we send", Handling.STOP),
    600: Known("ExpressionStateRequestInvalidFilename", "no name of an expression", Handling.SKIP),
    601: Known("ExpressionStateRequestFileNotFound", "the model has no such expression", Handling.SKIP),
    650: Known("ExpressionActivationRequestInvalidFilename", "no name of an expression", Handling.SKIP),
    651: Known("ExpressionActivationRequestFileNotFound", "the model has no such expression", Handling.SKIP),
    652: Known("ExpressionActivationRequestNoModelLoaded", "no model is loaded", Handling.SKIP),
    950: Known("EventSubscriptionRequestEventTypeUnknown", "it does not tell of models being loaded", Handling.SKIP),
    100050: Known("Event_ModelLoadedEvent_ModelIDInvalid", "it refuses a model's id", Handling.SKIP),
}
"""Those that our requests can get. Any other number is left out like SKIP, and told with its number."""


class NotTheProtocol(ValueError):
    """The other side sent what is no frame of the API."""


class ApiError(Exception):
    """VTube Studio turned a request down. It carries the number only: its words are not ours to log."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.known = ERRORS.get(number, Known(f"error {number}", "an error this program does not know", Handling.SKIP))
        super().__init__(f"{self.known.meaning} (error {number})")

    @property
    def handling(self) -> Handling:
        """What is to be done."""
        return self.known.handling


@dataclass(frozen=True, slots=True)
class Message:
    """One frame from VTube Studio: an answer to `request_id`, an event, or a broadcast."""

    kind: str
    request_id: str
    data: Mapping[str, Any]


def request(kind: str, request_id: str, data: Mapping[str, Any] | None = None) -> str:
    """A request as JSON; `request_id` is ASCII, 1 to 64 characters."""
    frame = {"apiName": API_NAME, "apiVersion": API_VERSION, "requestID": request_id, "messageType": kind}
    return json.dumps({**frame, "data": dict(data or {})})


def parse(text: str | bytes) -> Message:
    """A frame. Fields that are not known are no matter. Raises NotTheProtocol."""
    try:
        frame = json.loads(text)
    except (ValueError, RecursionError):
        raise NotTheProtocol("it sent what is no JSON") from None
    match frame:
        case {"apiName": str(name), "messageType": str(kind), "requestID": str(request_id), **rest}:
            data = rest.get("data")
            if name == API_NAME and isinstance(data, dict | None):
                return Message(kind, request_id, data or {})
    raise NotTheProtocol("it sent what is no frame of VTube Studio's API")


def error_in(message: Message) -> ApiError | None:
    """The error that an answer is, if it is one."""
    if message.kind != "APIError":
        return None
    number = message.data.get("errorID")
    return ApiError(number if isinstance(number, int) else -1)


def injection(values: Sequence[tuple[str, float]], *, face_found: bool) -> dict[str, Any]:
    """The data of InjectParameterDataRequest; parameters by id. A value that is not finite is 0."""
    parameters = [{"id": name, "value": value if math.isfinite(value) else 0.0} for name, value in values]
    return {"faceFound": face_found, "mode": "set", "parameterValues": parameters}
