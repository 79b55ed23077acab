"""A VTube Studio of ours: its public API 1.0 as published, stricter than the real one, with complaints kept.

Fields that the description does not name are refused (the real one passes over them), so that ours stay right.
"""

import asyncio
import contextlib
import json
import socket
import time
from dataclasses import dataclass, field

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

TOKEN = "adcd-123-ef09-some-token-string-abcd"
DEFAULT_PARAMETERS = {"MouthOpen", "MouthSmile", "FaceAngleX", "VoiceA", "VoiceI", "VoiceU", "VoiceE", "VoiceO"}
LOST_AFTER_S = 1.0
FIELDS = {
    "AuthenticationTokenRequest": ({"pluginName", "pluginDeveloper"}, {"pluginIcon"}),
    "AuthenticationRequest": ({"pluginName", "pluginDeveloper", "authenticationToken"}, set()),
    "EventSubscriptionRequest": ({"subscribe"}, {"eventName", "config"}),
    "CurrentModelRequest": (set(), set()),
    "HotkeysInCurrentModelRequest": (set(), {"modelID", "live2DItemFileName"}),
    "HotkeyTriggerRequest": ({"hotkeyID"}, {"itemInstanceID"}),
    "ExpressionStateRequest": ({"details"}, {"expressionFile"}),
    "ExpressionActivationRequest": ({"expressionFile", "active"}, {"fadeTime"}),
    "InjectParameterDataRequest": ({"parameterValues"}, {"faceFound", "mode"}),
}


class Turned(Exception):
    """A request is answered by an error."""


@dataclass
class FakeVTubeStudio:
    """One running app. `fails` answers requests of a kind by an error number; `user` is who clicks in the popup."""

    active: bool = True
    user: str = "allow"
    token: str | None = None
    model: bool = True
    hotkeys: list = field(default_factory=lambda: ["Smile", "Wave", "Frown"])
    expressions: dict = field(default_factory=lambda: {"blush.exp3.json": False, "sad.exp3.json": False})
    fails: dict = field(default_factory=dict)
    silent: bool = False
    port: int = 0

    def __post_init__(self):
        self.complaints, self.requests, self.injected, self.triggered, self.activated = [], [], [], [], []
        self.asked, self._who = 0, None
        self._values, self._sockets, self._subscribed = {}, {}, set()
        self._changed = asyncio.Event()

    @property
    def url(self):
        return f"ws://127.0.0.1:{self.port}"

    @property
    def num_sessions(self):
        return sum(self._sockets.values())

    async def __aenter__(self):
        self._server = await serve(self._session, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()
        await self._server.wait_closed()

    async def until(self, holds, timeout_s=10):
        async with asyncio.timeout(timeout_s):
            while not holds():
                self._changed.clear()
                await self._changed.wait()

    def value(self, name):
        """What a parameter is set to at present; None once nobody has renewed it for a second."""
        value, at_s = self._values.get(name, (None, 0.0))
        return value if time.monotonic() - at_s <= LOST_AFTER_S else None

    async def drop(self):
        """Every connection ends."""
        for one in list(self._sockets):
            await one.close()

    async def load_model(self, loaded=True, **changes):
        """Load another model, or none."""
        self.model = loaded
        for name, value in changes.items():
            setattr(self, name, value)
        data = {"modelLoaded": loaded, "modelName": "Akari", "modelID": "d8ee771d2909873b1aa0226d03ef4f51"}
        for one in list(self._subscribed):
            await one.send(self._frame("ModelLoadedEvent", "event", data))

    def broadcast(self, port, **changes):
        """One of those it sends every two seconds."""
        data = {
            "active": self.active,
            "port": self.port,
            "instanceID": "93aa",
            "windowTitle": "VTube Studio",
            **changes,
        }
        frame = self._frame("VTubeStudioAPIStateBroadcast", "VTubeStudioAPIStateBroadcast", data)
        with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sending:
            sending.sendto(frame.encode(), ("127.0.0.1", port))

    async def _session(self, connection):
        self._sockets[connection] = False
        try:
            async for text in connection:
                if not self.silent:
                    await connection.send(self._answer(connection, text))
                self._changed.set()
        except ConnectionClosed:
            pass
        finally:
            del self._sockets[connection]
            self._subscribed.discard(connection)
            self._changed.set()

    def _answer(self, connection, text):
        number = "none"
        try:
            request = self._read(text)
            number = request["requestID"]
            kind, data = request["messageType"], request.get("data") or {}
            self._check(connection, kind, data)
            return self._frame(kind.replace("Request", "Response"), number, self._obey(connection, kind, data))
        except Turned as error:
            (code,) = error.args
            return self._frame("APIError", number, {"errorID": code, "message": "words of VTube Studio's"})

    def _frame(self, kind, number, data):
        head = {"apiName": "VTubeStudioPublicAPI", "apiVersion": "1.0", "timestamp": int(time.time() * 1000)}
        return json.dumps({**head, "messageType": kind, "requestID": number, "data": data})

    def _read(self, text):
        try:
            request = json.loads(text)
        except ValueError:
            self._complain(2, "no JSON")
        if not isinstance(text, str) or not isinstance(request, dict):
            self._complain(2, "no object in a text frame")
        if request.get("apiName") != "VTubeStudioPublicAPI":
            self._complain(3, "apiName")
        if request.get("apiVersion") != "1.0":
            self._complain(4, "apiVersion")
        number = request.get("requestID")
        if not isinstance(number, str) or not number.isascii() or not 1 <= len(number) <= 64:
            self._complain(5, "requestID")
        if not request.get("messageType"):
            self._complain(6, "messageType")
        if extra := set(request) - {"apiName", "apiVersion", "requestID", "messageType", "data", "timestamp"}:
            self._complain(2, f"fields {extra}")
        return request

    def _check(self, connection, kind, data):
        self.requests.append(kind)
        if kind not in FIELDS:
            self._complain(7, kind)
        if not self.active:
            raise Turned(1)
        needed, optional = FIELDS[kind]
        if not needed <= set(data) <= needed | optional:
            self._complain(2, f"{kind}: {sorted(data)}")
        if kind in self.fails:
            raise Turned(self.fails[kind])
        if not kind.startswith("Authentication") and not self._sockets[connection]:
            raise Turned(8)

    def _obey(self, connection, kind, data):
        return getattr(self, f"_{kind}")(connection, data)

    def _AuthenticationTokenRequest(self, connection, data):
        self.asked += 1
        if not 3 <= len(data["pluginName"]) <= 32:
            self._complain(52, "pluginName")
        if not 3 <= len(data["pluginDeveloper"]) <= 32:
            self._complain(53, "pluginDeveloper")
        if self.user == "deny":
            raise Turned(50)
        self.token = TOKEN
        self._who = data["pluginName"], data["pluginDeveloper"]
        return {"authenticationToken": TOKEN}

    def _AuthenticationRequest(self, connection, data):
        good = self.token is not None and data["authenticationToken"] == self.token
        self._sockets[connection] = good and self._who == (data["pluginName"], data["pluginDeveloper"])
        return {"authenticated": self._sockets[connection], "reason": "words"}

    def _EventSubscriptionRequest(self, connection, data):
        if data.get("eventName") != "ModelLoadedEvent":
            raise Turned(950)
        self._subscribed.add(connection)
        return {"subscribedEventCount": 1, "subscribedEvents": ["ModelLoadedEvent"]}

    def _CurrentModelRequest(self, connection, data):
        return {"modelLoaded": self.model, "modelName": "Akari" if self.model else "", "modelID": ""}

    def _HotkeysInCurrentModelRequest(self, connection, data):
        listed = [{"name": name, "type": "ToggleExpression", "hotkeyID": f"id-{name}"} for name in self.hotkeys]
        return {"modelLoaded": self.model, "modelName": "", "modelID": "", "availableHotkeys": listed}

    def _HotkeyTriggerRequest(self, connection, data):
        if not self.model:
            raise Turned(201)
        known = {name.casefold(): name for name in self.hotkeys}
        if (name := known.get(data["hotkeyID"].casefold())) is None:
            raise Turned(202)
        self.triggered.append(name)
        return {"hotkeyID": f"id-{name}"}

    def _ExpressionStateRequest(self, connection, data):
        listed = [{"name": file[:-10], "file": file, "active": active} for file, active in self.expressions.items()]
        return {"modelLoaded": self.model, "modelName": "", "modelID": "", "expressions": listed}

    def _ExpressionActivationRequest(self, connection, data):
        file, active = data["expressionFile"], data["active"]
        if not file.endswith(".exp3.json"):
            self._complain(650, file)
        if not isinstance(active, bool) or not 0 <= data.get("fadeTime", 0.25) <= 2:
            self._complain(2, "active or fadeTime")
        if not self.model:
            raise Turned(652)
        if file not in self.expressions:
            raise Turned(651)
        self.expressions[file] = active
        self.activated.append((file, active))
        return {}

    def _InjectParameterDataRequest(self, connection, data):
        values = data["parameterValues"]
        if data.get("mode", "set") not in {"set", "add"}:
            self._complain(455, "mode")
        if not isinstance(data.get("faceFound", False), bool) or not values:
            self._complain(450, "faceFound or no values")
        for one in values:
            if not {"id", "value"} <= set(one) <= {"id", "value", "weight"}:
                self._complain(2, f"a value's fields: {sorted(one)}")
            if not isinstance(one["value"], int | float) or not -1e6 <= one["value"] <= 1e6:
                self._complain(451, "value")
            if one["id"] not in DEFAULT_PARAMETERS:
                raise Turned(453)
            self._values[one["id"]] = one["value"], time.monotonic()
        self.injected.append((time.monotonic(), {one["id"]: one["value"] for one in values}, data.get("faceFound")))
        return {}

    def _complain(self, code, what):
        self.complaints.append((code, what))
        raise Turned(code)
