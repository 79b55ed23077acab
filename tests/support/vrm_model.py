"""A tiny VRM 1.0 model made by code, since none may be shipped: boxes for bones, one expression that opens a mouth."""

import json
import struct

import numpy as np

_LIMBS = ("UpperLeg", "LowerLeg", "Foot", "UpperArm", "LowerArm", "Hand")
_HEIGHTS = {"hips": 0.9, "spine": 0.2, "chest": 0.2, "head": 0.3}
_CORNERS = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32) * 0.12
_SIDES = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
_FACES = np.array([(a, b, c, a, c, d) for a, b, c, d in _SIDES], np.uint16)
_FLOAT, _USHORT = 5126, 5123


def vrm_model() -> bytes:
    """The bytes of a .vrm file with all bones that the format requires and the expression `aa`."""
    nodes, bones = _skeleton()
    opened = np.where(_CORNERS[:, 1:2] < 0, np.float32([0, -0.1, 0]), np.float32(0)).astype(np.float32)
    chunks = [_CORNERS.tobytes(), _FACES.tobytes(), opened.tobytes()]
    offsets = np.cumsum([0, *map(len, chunks)])
    span = {"min": _CORNERS.min(0).tolist(), "max": _CORNERS.max(0).tolist()}
    gltf = {
        "asset": {"version": "2.0"},
        "extensionsUsed": ["VRMC_vrm"],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": nodes,
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1, "targets": [{"POSITION": 2}]}]}],
        "buffers": [{"byteLength": int(offsets[-1])}],
        "bufferViews": [
            {"buffer": 0, "byteOffset": int(at), "byteLength": len(chunk)}
            for at, chunk in zip(offsets, chunks, strict=False)
        ],
        "accessors": [
            {"bufferView": 0, "componentType": _FLOAT, "count": len(_CORNERS), "type": "VEC3"} | span,
            {"bufferView": 1, "componentType": _USHORT, "count": _FACES.size, "type": "SCALAR"},
            {"bufferView": 2, "componentType": _FLOAT, "count": len(_CORNERS), "type": "VEC3"}
            | {"min": opened.min(0).tolist(), "max": opened.max(0).tolist()},
        ],
        "extensions": {"VRMC_vrm": _vrm(bones)},
    }
    return _glb(json.dumps(gltf).encode(), b"".join(chunks))


def _skeleton() -> tuple[list[dict], dict[str, dict]]:
    """A node for each bone, a box on each; the head is the fourth."""
    nodes: list[dict] = []
    for name, height in _HEIGHTS.items():
        nodes.append({"name": name, "translation": [0, height, 0], "mesh": 0, "children": [len(nodes) + 1]})
    nodes[3]["children"] = []
    for side, x in (("left", 0.2), ("right", -0.2)):
        for index, limb in enumerate(_LIMBS):
            parent = (0 if "Leg" in limb else 2) if index % 3 == 0 else len(nodes) - 1
            nodes[parent].setdefault("children", []).append(len(nodes))
            nodes.append({"name": side + limb, "translation": [x, -0.1, 0], "children": []})
    for node in nodes:
        if not node["children"]:
            del node["children"]
    return nodes, {node["name"]: {"node": index} for index, node in enumerate(nodes)}


def _vrm(bones: dict[str, dict]) -> dict:
    mouth = {"morphTargetBinds": [{"node": bones["head"]["node"], "index": 0, "weight": 1.0}]}
    return {
        "specVersion": "1.0",
        "meta": {"name": "Boxes", "authors": ["test"], "licenseUrl": "https://vrm.dev/licenses/1.0/"},
        "humanoid": {"humanBones": bones},
        "expressions": {"preset": {"aa": mouth}},
    }


def _glb(text: bytes, binary: bytes) -> bytes:
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    body = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body
