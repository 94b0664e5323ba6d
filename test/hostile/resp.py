# SPDX-License-Identifier: Apache-2.0
"""Hostile and malformed RESP: a name, the bytes, and what an authenticated client must see (docs/RELIABILITY.md).

    [replies]   exactly these, and the connection stays
    CLOSE text  this protocol error, then the end
    WAIT        nothing yet, the connection stays open
    ANY         whatever it is, the server lives on
"""

WAIT, ANY = "wait", "any"


class Close(str):
    pass


class Error(str):
    """An error reply that begins so."""


COUNT = Close("ERR Protocol error: invalid multibulk length")
BULK = Close("ERR Protocol error: invalid bulk length")
UNKNOWN = Error("ERR unknown command")
ARITY = Error("ERR wrong number of arguments")
PING = b"*1\r\n$4\r\nPING\r\n"

INPUTS = [
    ("nothing", b"", WAIT),
    ("an empty line", b"\r\n", WAIT),
    ("empty lines and a request", b"\r\n\r\n\n" + PING, ["PONG"]),
    ("no arguments", b"*0\r\n" + PING, ["PONG"]),
    ("minus one arguments", b"*-1\r\n" + PING, ["PONG"]),
    ("minus two arguments", b"*-2\r\n" + PING, ["PONG"]),
    ("a null argument", b"*1\r\n$-1\r\n", BULK),
    ("2^31 arguments", b"*2147483648\r\n", COUNT),
    ("2^31 - 1 arguments", b"*2147483647\r\n", ANY),
    ("a count of 20 digits", b"*99999999999999999999\r\n", COUNT),
    ("a count of -2^63", b"*-9223372036854775808\r\n" + PING, ["PONG"]),
    ("a spaced count", b"* 1\r\n", COUNT),
    ("a signed count", b"*+1\r\n", COUNT),
    ("a count with a leading zero", b"*01\r\n", COUNT),
    ("a hex count", b"*0x1\r\n", COUNT),
    ("an empty count", b"*\r\n", COUNT),
    ("a count of words", b"*one\r\n", COUNT),
    ("a count behind a bare LF", b"*1\n", WAIT),
    ("a CR without LF", b"*1\rX$4\r\nPING\r\n", ANY),
    ("a bulk without an array", b"$4\r\nPING\r\n", [UNKNOWN, "PONG"]),
    ("no dollar", b"*1\r\nPING\r\n", Close("ERR Protocol error: expected '$', got 'P'")),
    ("a negative length", b"*1\r\n$-4\r\n", BULK),
    ("a huge length", b"*1\r\n$99999999999999999999\r\n", BULK),
    ("one byte more than 512 MiB", b"*1\r\n$536870913\r\n", BULK),
    ("512 MiB announced", b"*1\r\n$536870912\r\nabc", WAIT),
    ("a length of 2^63 - 1", b"*1\r\n$9223372036854775807\r\n", BULK),
    ("a length of 2^64 - 1", b"*1\r\n$18446744073709551615\r\n", BULK),
    ("a length of 2^32", b"*1\r\n$4294967296\r\n", BULK),
    ("a signed length", b"*1\r\n$+4\r\n", BULK),
    ("a spaced length", b"*1\r\n$ 4\r\n", BULK),
    ("a length with a space behind", b"*1\r\n$4 \r\n", BULK),
    ("a hex length", b"*1\r\n$0x4\r\n", BULK),
    ("an empty length", b"*1\r\n$\r\n", BULK),
    ("a length one short", b"*1\r\n$3\r\nPING\r\n", ANY),
    ("a length one long", b"*1\r\n$5\r\nPING\r\n", ANY),
    ("no final CR LF", b"*1\r\n$4\r\nPING", WAIT),
    ("CR LF inside a value", b"*2\r\n$4\r\nECHO\r\n$4\r\na\r\nb\r\n", [b"a\r\nb"]),
    ("NUL bytes", b"*2\r\n$4\r\nECHO\r\n$3\r\n\0\0\0\r\n", [b"\0\0\0"]),
    ("a NUL in the name", b"*1\r\n$5\r\nPI\0NG\r\n", [UNKNOWN]),
    ("an empty name", b"*1\r\n$0\r\n\r\n", [UNKNOWN]),
    ("a name of 1 MiB", b"*1\r\n$1048576\r\n" + b"x" * 1048576 + b"\r\n", [UNKNOWN]),
    ("100,000 arguments", b"*100000\r\n" + b"$1\r\na\r\n" * 100000, [UNKNOWN]),
    ("too few arguments", b"*1\r\n$3\r\nGET\r\n", [ARITY]),
    ("too many arguments", b"*3\r\n$3\r\nGET\r\n$1\r\na\r\n$1\r\nb\r\n", [ARITY]),
    ("a streamed array", b"*?\r\n", COUNT),
    ("a streamed string", b"*1\r\n$?\r\n", BULK),
    ("nested arrays", b"*1\r\n" * 10000, Close("ERR Protocol error: expected '$', got '*'")),
    ("a count of 70,000 digits", b"*" + b"1" * 70000, Close("ERR Protocol error: too big mbulk count string")),
    ("a length of 70,000 digits", b"*1\r\n$" + b"1" * 70000, Close("ERR Protocol error: too big bulk count string")),
    ("a line without an end", b"x" * 70000, Close("ERR Protocol error: too big inline request")),
    ("unbalanced double quotes", b'ECHO "a\r\n', Close("ERR Protocol error: unbalanced quotes in request")),
    ("unbalanced single quotes", b"ECHO 'a\r\n", Close("ERR Protocol error: unbalanced quotes in request")),
    ("text behind a quote", b'ECHO "a"b\r\n', Close("ERR Protocol error: unbalanced quotes in request")),
    ("escapes in an inline command", b'ECHO "\\x41\\n\\"\\q"\r\n', [b'A\n"q']),
    ("control bytes in an inline command", b"\1\2\3\x7f\r\n", [UNKNOWN]),
    ("a request inside garbage", b"garbage garbage\r\n" + PING, [UNKNOWN, "PONG"]),
    ("a good request before a bad one", PING + b"*1\r\n$-5\r\n" + PING, ANY),
    ("HELLO 2^63", b"*2\r\n$5\r\nHELLO\r\n$19\r\n9223372036854775808\r\n", [Error("ERR Protocol version")]),
]
INPUTS += [(f"a RESP3 {name} as a request", first + b"1\r\n", [UNKNOWN])
           for name, first in (("map", b"%"), ("set", b"~"), ("push", b">"), ("attribute", b"|"), ("boolean", b"#"), ("double", b","), ("big number", b"("),
                               ("verbatim", b"="), ("blob error", b"!"), ("null", b"_"), ("integer", b":"), ("simple string", b"+"), ("error", b"-"))]

OTHER_PROTOCOLS = [
    ("HTTP POST", b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 30\r\n\r\nSET pwned 1\r\nSET pwned 2\r\n\r\n", True),
    ("HTTP GET", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nSET pwned 1\r\n", True),
    ("TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 2, False),
    ("SSH banner", b"SSH-2.0-OpenSSH_9.2\r\n", False),
    ("SMTP", b"EHLO example.org\r\nMAIL FROM:<a@example.org>\r\n", False),
    ("memcached text", b"add pwned 0 0 5\r\nhello\r\n", False),
    ("memcached binary", b"\x80\x01\x00\x05\x08\0\0\0\0\0\0\x12" + b"\0" * 12 + b"\xde\xad\xbe\xef\0\0\0\0pwned" + b"hello", False),
    ("PROXY v1", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", False),
    ("PROXY v2", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + b"\1" * 12, False),
    ("PostgreSQL start", b"\0\0\0\x08\x04\xd2\x16\x2f", False),
    ("DNS over TCP", b"\0\x1d\xaa\xaa\1\0\0\1\0\0\0\0\0\0\7example\3com\0\0\1\0\1", False),
]
