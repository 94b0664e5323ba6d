# SPDX-License-Identifier: Apache-2.0
"""Client of the skerry key-value server: requests go straight to the shard that owns the key.

    from skerry_client import Client

    with Client("127.0.0.1:6380") as client:
        client.set("user:42", b"Ada", ttl=60)
        client.get("user:42")                     # b"Ada"
        with client.pipeline() as pipeline:
            for i in range(1000):
                pipeline.set(f"n:{i}", str(i))
        pipeline.results                          # a result per request, in their order

Keys and values are bytes; text is encoded as UTF-8. Times are seconds, as numbers. A client may be shared by threads: one at a time is
inside. What goes wrong raises a subclass of Error, with the status of the C library and a text that names what was asked of whom.
"""

from __future__ import annotations

import threading
from typing import Any, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Type, Union

from ._native import ffi, lib  # type: ignore[import-not-found,import-untyped,unused-ignore]

__all__ = ["Client", "Pipeline", "Reply", "Topology", "Error", "InvalidError", "BusyError", "FullError", "TooLargeError", "MemoryBoundError",
           "AddressError", "UnreachableError", "ClosedError", "RequestTimeout", "ProtocolError", "RefusedError", "TopologyError", "MovedError",
           "ServerError", "hash_of", "shard_of", "__version__"]

Text = Union[bytes, str]
Resp = Union[None, bytes, int, List[Any]]

__version__: str = ffi.string(lib.skerry_client_version()).decode()


class Error(Exception):
    """`status` is the number that the C library gave."""

    status = -1


class InvalidError(Error, ValueError):
    status = 16


class BusyError(Error):
    status = 17


class FullError(Error):
    status = 18


class TooLargeError(Error):
    status = 19


class MemoryBoundError(Error, MemoryError):
    status = 20


class AddressError(Error, ValueError):
    status = 21


class UnreachableError(Error, ConnectionError):
    """No connection came about; the request was not sent."""

    status = 22


class ClosedError(Error, ConnectionError):
    """The connection ended before the reply: whether the request was executed is unknown."""

    status = 23


class RequestTimeout(Error, TimeoutError):
    """No reply in time: whether the request was executed is unknown."""

    status = 24


class ProtocolError(Error):
    status = 25


class RefusedError(Error, PermissionError):
    status = 26


class TopologyError(Error):
    status = 27


class MovedError(Error):
    """The topology changed; the request was not executed and may be said again."""

    status = 28


class ServerError(Error):
    """The server's own words."""

    status = 29


_ERRORS: Mapping[int, Type[Error]] = {e.status: e for e in Error.__subclasses__()}
_MODES = {"auto": 0, "fanout": 1, "direct": 2}
_OK, _MISSING, _AGAIN, _EMPTY, _ERROR_FROM = 0, 1, 2, 3, 16


def _error(status: int, text: str) -> Error:
    return _ERRORS.get(status, Error)(text)


def _bytes(data: Text) -> bytes:
    if isinstance(data, str):
        return data.encode()
    if isinstance(data, bytes):
        return data
    if isinstance(data, (bytearray, memoryview)):
        return bytes(data)
    raise TypeError(f"bytes or str expected, not {type(data).__name__}")


def _milliseconds(seconds: float, name: str = "ttl") -> int:
    ms = round(seconds * 1000)
    if ms <= 0:
        raise ValueError(f"{name} must be at least a millisecond")
    return ms


def _timeout(seconds: Optional[float], default: int) -> int:
    if seconds is None:
        return default
    return -1 if seconds < 0 else max(1, min(round(seconds * 1000), 2**31 - 1))


class Topology(NamedTuple):
    shards: int  # 0: not known
    direct: bool
    direct_base_port: int
    session_prefix: bool
    epoch: int
    frame_max: int


class Reply(NamedTuple):
    """Of a raw request: kind is ok, null, integer, value, boolean, array or float."""

    kind: str
    value: Union[None, bool, int, float, bytes, List[Optional[bytes]]]


_KINDS = ["ok", "null", "error", "integer", "value", "boolean", "array", "float"]


def _view(view: Any) -> Optional[bytes]:
    return None if view.data == ffi.NULL else bytes(ffi.buffer(view.data, view.length))


def _items(reply: Any) -> List[Optional[bytes]]:
    cursor, item, out = ffi.new("size_t *"), ffi.new("struct skerry_client_bytes *"), []
    while lib.skerry_client_item(reply, cursor, item):
        out.append(_view(item))
    return out


def _reply(reply: Any) -> Reply:
    kind = _KINDS[reply.kind]
    value: Any = None
    if kind == "integer":
        value = reply.integer
    elif kind == "boolean":
        value = bool(reply.integer)
    elif kind == "float":
        value = reply.number
    elif kind == "value":
        value = _view(reply.bytes)
    elif kind == "array":
        value = _items(reply)
    return Reply(kind, value)


def _resp(view: Any) -> Resp:
    """RESP2, whatever its depth: a stack of lists that still want items."""
    cursor, piece = ffi.new("size_t *"), ffi.new("struct skerry_client_resp *")
    stack: List[Tuple[List[Any], int]] = []
    while True:
        if lib.skerry_client_resp_next(view[0], cursor, piece) != 1:
            raise ProtocolError("the reply to a command is no RESP2")
        value: Any
        if piece.type == b":":
            value = piece.integer
        elif piece.type == b"*":
            value = None if piece.integer < 0 else []
        elif piece.type == b"-":
            value = ServerError((_view(piece.bytes) or b"").decode(errors="replace"))
            if not stack:
                raise value
        else:
            value = _view(piece.bytes)
        if stack:
            stack[-1][0].append(value)
        if piece.type == b"*" and piece.integer > 0:
            stack.append((value, piece.integer))
            continue
        while stack and len(stack[-1][0]) == stack[-1][1]:
            value = stack.pop()[0]
        if not stack:
            return value  # type: ignore[no-any-return]


class _Views:
    """An array of struct skerry_client_bytes over Python's bytes, which it keeps alive."""

    def __init__(self, parts: Iterable[Text]):
        self.parts = [ffi.from_buffer(_bytes(part)) for part in parts]
        self.array = ffi.new("struct skerry_client_bytes[]", len(self.parts) or 1)
        for view, part in zip(self.array, self.parts):
            view.data, view.length = part, len(part)

    def __len__(self) -> int:
        return len(self.parts)


class Client:
    """address: "host:port", "host", "[v6]:port", "unix:/path". mode: "auto" (a connection per shard where the server offers that),
    "direct" (that or an error), "fanout" (one connection). Timeouts in seconds, negative: none. The other bounds are the C library's."""

    def __init__(self, address: str = "127.0.0.1:6380", *, mode: str = "auto", direct_host: Optional[str] = None, user: Optional[str] = None,
                 password: Optional[str] = None, connect_timeout: Optional[float] = None, request_timeout: Optional[float] = None,
                 requests_max: int = 0, send_max: int = 0, receive_max: int = 0, reply_max: int = 0, memory_max: int = 0) -> None:
        self._client: Any = None
        if mode not in _MODES:
            raise InvalidError(f"mode {mode!r} is none of auto, direct and fanout")
        texts = [ffi.NULL if text is None else ffi.new("char[]", text.encode()) for text in (address, direct_host, user, password)]
        options = ffi.new("struct skerry_client_options *", {
            "size": ffi.sizeof("struct skerry_client_options"), "address": texts[0], "mode": _MODES[mode], "direct_host": texts[1],
            "user": texts[2], "password": texts[3], "connect_timeout_ms": _timeout(connect_timeout, 0),
            "request_timeout_ms": _timeout(request_timeout, 0), "requests_max": requests_max, "send_max": send_max,
            "receive_max": receive_max, "reply_max": reply_max, "memory_max": memory_max})
        out = ffi.new("struct skerry_client **")
        status = lib.skerry_client_new(out, options)
        if status != _OK:
            raise _error(status, ffi.string(lib.skerry_client_failure()).decode(errors="replace"))
        self._client = out[0]
        self._lock = threading.RLock()

    def close(self) -> None:
        """Ends all connections. A closed client raises ValueError."""
        if self._client is not None:
            with self._lock:
                client, self._client = self._client, None
                lib.skerry_client_free(client)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_client", None) is not None:
            self.close()

    def _open(self) -> Any:
        if self._client is None:
            raise ValueError("the client is closed")
        return self._client

    def _error(self, status: int) -> Error:
        return _error(status, ffi.string(lib.skerry_client_error(self._client)).decode(errors="replace"))

    def _check(self, status: int) -> bool:
        """True: OK, False: MISSING."""
        if status >= _ERROR_FROM:
            raise self._error(status)
        return bool(status == _OK)

    def connect(self) -> None:
        """Says at once whether the server is there; every other call connects by itself."""
        with self._lock:
            self._check(lib.skerry_client_connect(self._open()))

    def topology(self) -> Topology:
        """What HELLO said last."""
        with self._lock:
            t = ffi.new("struct skerry_client_topology *", {"size": ffi.sizeof("struct skerry_client_topology")})
            lib.skerry_client_topology(self._open(), t)
            return Topology(t.shards, bool(t.direct), t.direct_base_port, bool(t.session_prefix), t.epoch, t.frame_max)

    def get(self, key: Text) -> Optional[bytes]:
        k = _bytes(key)
        with self._lock:
            value = ffi.new("struct skerry_client_bytes *")
            return _view(value) if self._check(lib.skerry_client_get(self._open(), k, len(k), value)) else None

    def getex(self, key: Text, ttl: float) -> Optional[bytes]:
        """GET that also sets the time to live."""
        k, ms = _bytes(key), _milliseconds(ttl)
        with self._lock:
            value = ffi.new("struct skerry_client_bytes *")
            return _view(value) if self._check(lib.skerry_client_getex(self._open(), k, len(k), ms, value)) else None

    def set(self, key: Text, value: Text, *, ttl: Optional[float] = None, at: Optional[float] = None) -> None:
        """ttl: seconds to live; at: seconds since 1970 at which it expires; neither: it stays."""
        k, v = _bytes(key), _bytes(value)
        if ttl is not None and at is not None:
            raise ValueError("ttl and at exclude each other")
        with self._lock:
            if at is not None:
                self._check(lib.skerry_client_set_at(self._open(), k, len(k), v, len(v), _milliseconds(at, "at")))
            else:
                self._check(lib.skerry_client_set(self._open(), k, len(k), v, len(v), 0 if ttl is None else _milliseconds(ttl)))

    def delete(self, key: Text) -> bool:
        k = _bytes(key)
        with self._lock:
            return self._check(lib.skerry_client_delete(self._open(), k, len(k)))

    def exists(self, key: Text) -> bool:
        k = _bytes(key)
        with self._lock:
            return self._check(lib.skerry_client_exists(self._open(), k, len(k)))

    def ttl(self, key: Text) -> Optional[int]:
        """Seconds, rounded up; -1: without expiry; None: no such key."""
        k = _bytes(key)
        with self._lock:
            seconds = ffi.new("int64_t *")
            return int(seconds[0]) if self._check(lib.skerry_client_ttl(self._open(), k, len(k), seconds)) else None

    def expire(self, key: Text, ttl: float) -> bool:
        k, ms = _bytes(key), _milliseconds(ttl)
        with self._lock:
            return self._check(lib.skerry_client_expire(self._open(), k, len(k), ms))

    def mget(self, keys: Sequence[Text]) -> List[Optional[bytes]]:
        views = _Views(keys)
        with self._lock:
            values = ffi.new("struct skerry_client_bytes[]", len(views) or 1)
            self._check(lib.skerry_client_mget(self._open(), views.array, len(views), values))
            return [_view(values[i]) for i in range(len(views))]

    def mset(self, pairs: Mapping[Any, Text]) -> None:
        """All or nothing."""
        keys, values = _Views(pairs.keys()), _Views(pairs.values())
        with self._lock:
            self._check(lib.skerry_client_mset(self._open(), keys.array, values.array, len(keys)))

    def ping(self, payload: Text = b"") -> None:
        p = _bytes(payload)
        with self._lock:
            self._check(lib.skerry_client_ping(self._open(), p, len(p)))

    def command(self, *words: Text, keyed: bool = False) -> Resp:
        """A Redis command. keyed: its second word is its only key, and it goes where that lives."""
        views = _Views(words)
        with self._lock:
            resp = ffi.new("struct skerry_client_bytes *")
            self._check(lib.skerry_client_command(self._open(), views.array, len(views), keyed, resp))
            return _resp(resp)

    def request(self, opcode: int, key: Optional[Text], body: Text) -> Reply:
        """Any opcode; `body` is what follows the routing prefix, `key` what it is routed by."""
        k, b = None if key is None else _bytes(key), _bytes(body)
        with self._lock:
            reply = ffi.new("struct skerry_client_reply **")
            self._check(lib.skerry_client_request(self._open(), opcode, ffi.NULL if k is None else k, len(k or b""), b, len(b), reply))
            return _reply(reply[0])

    def pipeline(self) -> "Pipeline":
        return Pipeline(self)

    def fileno(self) -> int:
        """One descriptor for all connections: readable when Pipeline.poll() has something to do."""
        with self._lock:
            return int(lib.skerry_client_fd(self._open()))


class Pipeline:
    """Requests that are under way together. Leaving `with` waits for them all; without `with`, call execute(), or, not to block,
    poll() whenever the client's descriptor is readable. A result is what the client's verb of that name gives, or an Error.
    While a pipeline is open, the client's other verbs raise BusyError."""

    def __init__(self, client: Client) -> None:
        self._owner = client
        self._wanted: List[str] = []
        self.results: List[Any] = []

    def __enter__(self) -> "Pipeline":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.execute()

    def _queue(self, kind: str, function: Any, *arguments: Any) -> "Pipeline":
        with self._owner._lock:
            client = self._owner._open()
            status = function(client, *arguments, ffi.NULL)
            while status == FullError.status and len(self.results) < len(self._wanted):
                self._take(lib.skerry_client_wait)
                status = function(client, *arguments, ffi.NULL)
            self._owner._check(status)
            self._wanted.append(kind)
        return self

    def get(self, key: Text) -> "Pipeline":
        k = _bytes(key)
        return self._queue("value", lib.skerry_client_queue_get, k, len(k))

    def getex(self, key: Text, ttl: float) -> "Pipeline":
        k = _bytes(key)
        return self._queue("value", lib.skerry_client_queue_getex, k, len(k), _milliseconds(ttl))

    def set(self, key: Text, value: Text, *, ttl: Optional[float] = None) -> "Pipeline":
        k, v = _bytes(key), _bytes(value)
        return self._queue("none", lib.skerry_client_queue_set, k, len(k), v, len(v), 0 if ttl is None else _milliseconds(ttl))

    def delete(self, key: Text) -> "Pipeline":
        k = _bytes(key)
        return self._queue("bool", lib.skerry_client_queue_delete, k, len(k))

    def exists(self, key: Text) -> "Pipeline":
        k = _bytes(key)
        return self._queue("bool", lib.skerry_client_queue_exists, k, len(k))

    def ttl(self, key: Text) -> "Pipeline":
        k = _bytes(key)
        return self._queue("ttl", lib.skerry_client_queue_ttl, k, len(k))

    def expire(self, key: Text, ttl: float) -> "Pipeline":
        k = _bytes(key)
        return self._queue("bool", lib.skerry_client_queue_expire, k, len(k), _milliseconds(ttl))

    def ping(self, payload: Text = b"") -> "Pipeline":
        p = _bytes(payload)
        return self._queue("none", lib.skerry_client_queue_ping, p, len(p))

    def mget(self, keys: Sequence[Text]) -> "Pipeline":
        views = _Views(keys)
        return self._queue("items", lib.skerry_client_queue_mget, views.array, len(views))

    def mset(self, pairs: Mapping[Any, Text]) -> "Pipeline":
        keys, values = _Views(pairs.keys()), _Views(pairs.values())
        return self._queue("none", lib.skerry_client_queue_mset, keys.array, values.array, len(keys))

    def command(self, *words: Text, keyed: bool = False) -> "Pipeline":
        views = _Views(words)
        return self._queue("resp", lib.skerry_client_queue_command, views.array, len(views), keyed)

    def _result(self, kind: str, reply: Any) -> Any:
        if reply.status >= _ERROR_FROM:
            return _error(reply.status, ffi.string(reply.error).decode(errors="replace"))
        if kind == "value":
            return _view(reply.bytes)
        if kind == "bool":
            return bool(reply.integer)
        if kind == "ttl":
            return None if reply.integer == -2 else reply.integer
        if kind == "items":
            return _items(reply)
        if kind == "resp":
            try:
                return _resp(ffi.addressof(reply, "bytes"))
            except Error as error:
                return error
        return None

    def _take(self, how: Any) -> bool:
        reply = ffi.new("struct skerry_client_reply **")
        if how(self._owner._open(), reply) != _OK:
            return False
        self.results.append(self._result(self._wanted[len(self.results)], reply[0]))
        return True

    def execute(self) -> List[Any]:
        """Waits for what is under way; gives all results."""
        with self._owner._lock:
            while len(self.results) < len(self._wanted) and self._take(lib.skerry_client_wait):
                pass
        return self.results

    def poll(self) -> bool:
        """Sends and receives without blocking; True when every result is there."""
        with self._owner._lock:
            lib.skerry_client_step(self._owner._open())
            while len(self.results) < len(self._wanted) and self._take(lib.skerry_client_next):
                pass
        return len(self.results) == len(self._wanted)


def hash_of(key: Text) -> int:
    """XXH3-64 of the key, as it stands on the wire."""
    k = _bytes(key)
    return int(lib.skerry_client_hash(k, len(k)))


def shard_of(key: Text, shards: int, session_prefix: bool = False) -> int:
    k = _bytes(key)
    route = lib.skerry_client_session_hash(k, len(k)) if session_prefix else lib.skerry_client_hash(k, len(k))
    return int(lib.skerry_client_shard(route, shards))
