"""An OBS of ours: the obs-websocket 5 protocol as published, stricter than the real one, with complaints."""

import asyncio
import base64
import hashlib
import json
from dataclasses import dataclass, field

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

FIELDS = {
    "GetInputMute": {"inputName": str},
    "SetInputMute": {"inputName": str, "inputMuted": bool},
    "SetInputSettings": {"inputName": str, "inputSettings": dict, "overlay": bool},
    "SendStreamCaption": {"captionText": str},
    "SetCurrentProgramScene": {"sceneName": str},
}
INPUTS, CONFIG = 8, 2
SALT, CHALLENGE = "lM1GncleQOaCu9lT1yeUZhFYnqhsLLP1G5lAGo3ixaI=", "+IxH4CnCiqpX1rM9scsNynZzbOe4KhDeYcTNS3PDaeY="


class Turned(Exception):
    """A request is answered by a code that is not success."""


class Ended(Exception):
    """The connection is closed with a code."""


@dataclass
class FakeObs:
    """One running OBS. `fails` answers requests of a kind by a code; `muted` are its audio inputs, `texts` its text."""

    password: str | None = None
    scenes: tuple = ("Mori's room", "Bolt's garage")
    muted: dict = field(default_factory=lambda: {"Voice": False})
    texts: dict = field(default_factory=lambda: {"Subtitles": "left over"})
    streaming: bool = True
    fails: dict = field(default_factory=dict)
    silent: bool = False
    port: int = 0

    def __post_init__(self):
        self.complaints, self.requests, self.shown, self.captions, self.scene = [], [], [], [], self.scenes[0]
        self.logins = 0
        self._clients, self._changed = {}, asyncio.Event()

    @property
    def url(self):
        return f"ws://127.0.0.1:{self.port}"

    async def __aenter__(self):
        self._server = await serve(
            self._session, "127.0.0.1", self.port, subprotocols=["obswebsocket.json", "obswebsocket.msgpack"]
        )
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

    async def drop(self, code=1001):
        """Every connection ends."""
        for one in list(self._clients):
            await one.close(code)

    async def mute_by_hand(self, name, muted):
        """Somebody clicks on the loudspeaker."""
        self.muted[name] = muted
        data = {"inputName": name, "inputUuid": "u", "inputMuted": muted}
        await self._tell("InputMuteStateChanged", INPUTS, data)

    async def collection(self, state):
        """The scene collection is `Changing`, or has `Changed`."""
        await self._tell(f"CurrentSceneCollection{state}", CONFIG, {"sceneCollectionName": "other"})

    async def _tell(self, kind, intent, data):
        for client, wanted in list(self._clients.items()):
            if wanted & intent:
                await client.send(_frame(5, {"eventType": kind, "eventIntent": intent, "eventData": data}))
        self._changed.set()

    async def _session(self, connection):
        try:
            await self._greet(connection)
            async for text in connection:
                if not self.silent:
                    await self._answer(connection, text)
                self._changed.set()
        except Ended as error:
            code, what = error.args
            self.complaints.append((code, what))
            await connection.close(code, what)
        except ConnectionClosed:
            pass
        finally:
            self._clients.pop(connection, None)
            self._changed.set()

    async def _greet(self, connection):
        hello = {"obsWebSocketVersion": "5.5.0", "rpcVersion": 1}
        if self.password is not None:
            hello["authentication"] = {"challenge": CHALLENGE, "salt": SALT}
        await connection.send(_frame(0, hello))
        op, data = self._read(await connection.recv())
        if op != 1:
            raise Ended(4007, "no Identify first")
        if not {"rpcVersion"} <= set(data) <= {"rpcVersion", "authentication", "eventSubscriptions"}:
            raise Ended(4003, f"Identify: {sorted(data)}")
        if data["rpcVersion"] != 1:
            raise Ended(4010, "rpcVersion")
        if self.password is not None and data.get("authentication") != self._proof():
            raise Ended(4009, "authentication")
        self._clients[connection] = data.get("eventSubscriptions", 0x3FF)
        self.logins += 1
        await connection.send(_frame(2, {"negotiatedRpcVersion": 1}))
        self._changed.set()

    def _proof(self):
        secret = base64.b64encode(hashlib.sha256((self.password + SALT).encode()).digest()).decode()
        return base64.b64encode(hashlib.sha256((secret + CHALLENGE).encode()).digest()).decode()

    def _read(self, text):
        if not isinstance(text, str):
            raise Ended(4002, "a binary frame in JSON")
        try:
            frame = json.loads(text)
        except ValueError:
            raise Ended(4002, "no JSON") from None
        if set(frame) != {"op", "d"} or not isinstance(frame["d"], dict):
            raise Ended(4003, f"a frame's fields: {sorted(frame)}")
        return frame["op"], frame["d"]

    async def _answer(self, connection, text):
        op, data = self._read(text)
        if op == 1:
            raise Ended(4008, "Identify again")
        if op != 6:
            raise Ended(4006, f"op {op}")
        if not {"requestType", "requestId"} <= set(data) <= {"requestType", "requestId", "requestData"}:
            raise Ended(4003, f"a request's fields: {sorted(data)}")
        kind, status, answer = data["requestType"], {"result": True, "code": 100}, {}
        try:
            answer = await self._obey(kind, data.get("requestData") or {})
        except Turned as error:
            status = {"result": False, "code": error.args[0], "comment": "words of OBS's"}
        told = {"requestType": kind, "requestId": data["requestId"], "requestStatus": status, "responseData": answer}
        await connection.send(_frame(7, told))

    async def _obey(self, kind, data):
        self.requests.append((kind, data))
        if kind not in FIELDS:
            self._complain(204, kind)
        if set(data) != set(FIELDS[kind]):
            self._complain(300, f"{kind}: {sorted(data)}")
        for name, type_ in FIELDS[kind].items():
            if type(data[name]) is not type_:
                self._complain(401, f"{kind}.{name}")
        if kind in self.fails:
            raise Turned(self.fails[kind])
        return await getattr(self, f"_{kind}")(**data) or {}

    async def _GetInputMute(self, inputName):
        return {"inputMuted": self._found(self.muted, inputName)}

    async def _SetInputMute(self, inputName, inputMuted):
        if self._found(self.muted, inputName) != inputMuted:
            await self.mute_by_hand(inputName, inputMuted)  # the same event, whoever did it

    async def _SetInputSettings(self, inputName, inputSettings, overlay):
        self._found(self.texts, inputName)
        if set(inputSettings) != {"text"} or overlay is not True:
            self._complain(400, f"settings: {inputSettings}")
        self.texts[inputName] = inputSettings["text"]
        self.shown.append(inputSettings["text"])

    async def _SendStreamCaption(self, captionText):
        if not self.streaming:
            raise Turned(501)
        self.captions.append(captionText)

    async def _SetCurrentProgramScene(self, sceneName):
        if sceneName not in self.scenes:
            raise Turned(600)
        self.scene = sceneName

    def _found(self, things, name):
        if name not in things:
            raise Turned(600)
        return things[name]

    def _complain(self, code, what):
        self.complaints.append((code, what))
        raise Turned(code)


def _frame(op, data):
    return json.dumps({"op": op, "d": data})
