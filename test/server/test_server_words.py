# SPDX-License-Identifier: Apache-2.0
"""Connection and server commands: the words of their replies and errors. Valkey 8 answers the same."""

from harness import Error, check, check_equal, test

OK, NULL = "OK", None
SYNTAX = Error("ERR syntax error")
NOT_INTEGER = Error("ERR value is not an integer or out of range")
NAMES = Error("ERR Client names cannot contain spaces, newlines or special characters.")
WRONGPASS = Error("WRONGPASS invalid username-password pair or user is disabled.")


def arity(name):
    return Error(f"ERR wrong number of arguments for '{name}' command")


def failed(option, reason):
    return Error(f"ERR CONFIG SET failed (possibly related to argument '{option}') - {reason}")


def expect(c, table):
    for words, want in table:
        check_equal(c.call(*words), want, " ".join(words))


@test()
def connections_are_greeted_and_switched(s):
    with s.client() as c:
        expect(c, [
            (("PING", "x"), b"x"), (("PING", "a", "b"), arity("ping")), (("ECHO",), arity("echo")), (("ECHO", "a"), b"a"),
            (("SELECT", "15"), OK), (("SELECT", "16"), Error("ERR DB index is out of range")),
            (("SELECT", "-1"), Error("ERR DB index is out of range")), (("SELECT", "a"), NOT_INTEGER), (("SELECT", "1.5"), NOT_INTEGER),
            (("SELECT", "99999999999"), Error("ERR value is out of range, value must between -2147483648 and 2147483647")),
            (("SELECT", "0"), OK),
            (("HELLO", "a"), Error("ERR Protocol version is not an integer or out of range")),
            (("HELLO", "1"), Error("NOPROTO unsupported protocol version")),
            (("HELLO", "4"), Error("NOPROTO unsupported protocol version")),
            (("HELLO", "3", "x"), Error("ERR Syntax error in HELLO option 'x'")),
            (("HELLO", "3", "AUTH", "a"), Error("ERR Syntax error in HELLO option 'AUTH'")),
            (("HELLO", "3", "AUTH", "other", "x"), WRONGPASS), (("HELLO", "2", "SETNAME", "a b"), NAMES),
            (("AUTH", "default", "anything"), OK), (("AUTH", "other", "x"), WRONGPASS), (("AUTH", "a", "b", "c"), SYNTAX),
            (("RESET", "x"), arity("reset")), (("RESET",), "RESET"),
        ])


@test()
def clients_are_named_and_described(s):
    with s.client() as c:
        expect(c, [
            (("CLIENT",), arity("client")), (("CLIENT", "FOO"), Error("ERR unknown subcommand 'FOO'. Try CLIENT HELP.")),
            (("CLIENT", "ID", "3"), arity("client|id")), (("CLIENT", "GETNAME"), NULL), (("CLIENT", "SETNAME", "foo"), OK),
            (("CLIENT", "GETNAME"), b"foo"), (("CLIENT", "SETNAME", "a b"), NAMES), (("CLIENT", "SETNAME", ""), OK),
            (("CLIENT", "GETNAME"), NULL), (("CLIENT", "SETINFO", "lib-name", "lib"), OK), (("CLIENT", "SETINFO", "LIB-VER", "1.0"), OK),
            (("CLIENT", "NO-EVICT", "ON"), OK), (("CLIENT", "NO-EVICT", "x"), SYNTAX), (("CLIENT", "NO-TOUCH", "ON"), OK),
            (("CLIENT", "GETREDIR"), -1), (("CLIENT", "REPLY", "x"), SYNTAX), (("CLIENT", "REPLY", "ON"), OK),
            (("CLIENT", "LIST", "x"), SYNTAX), (("CLIENT", "LIST", "TYPE", "x"), Error("ERR Unknown client type 'x'")),
            (("CLIENT", "LIST", "TYPE", "pubsub"), b""), (("CLIENT", "LIST", "ID", "a"), Error("ERR Invalid client ID")),
            (("CLIENT", "LIST", "ID", "99999999"), b""), (("CLIENT", "LIST", "ID"), SYNTAX),
        ])
        line = c.must("CLIENT", "INFO").decode()
        fields = dict(word.split("=", 1) for word in line.split())
        check_equal([fields[f] for f in ("lib-name", "lib-ver", "flags", "db", "resp", "user", "cmd")],
                    ["lib", "1.0", "eT", "0", "2", "default", "client|info"], line)
        check_equal(c.must("CLIENT", "LIST", "ID", fields["id"]).decode().count("\n"), 1, "lines of CLIENT LIST ID")
        check(isinstance(c.call("CLIENT", "HELP"), list), "CLIENT HELP is a list")


@test()
def clients_are_killed_by_what_they_are(s):
    with s.client() as c, s.client() as other:
        greater = Error("ERR client-id should be greater than 0")
        expect(c, [
            (("CLIENT", "KILL", "1.2.3.4:5"), Error("ERR No such client")), (("CLIENT", "KILL", "ID", "a"), greater),
            (("CLIENT", "KILL", "ID", "0"), greater), (("CLIENT", "KILL", "ID", "99999999"), 0),
            (("CLIENT", "KILL", "TYPE", "x"), Error("ERR Unknown client type 'x'")), (("CLIENT", "KILL", "TYPE", "pubsub"), 0),
            (("CLIENT", "KILL", "USER", "x"), Error("ERR No such user 'x'")), (("CLIENT", "KILL", "ADDR", "1.2.3.4:5"), 0),
            (("CLIENT", "KILL", "LADDR", "1.2.3.4:5", "SKIPME", "no"), 0), (("CLIENT", "KILL", "SKIPME", "x"), SYNTAX),
            (("CLIENT", "KILL", "ID", "5", "ADDR"), SYNTAX), (("CLIENT", "KILL", "x", "y"), SYNTAX),
        ])
        address = dict(w.split("=", 1) for w in other.must("CLIENT", "INFO").decode().split())["addr"]
        check_equal(c.call("CLIENT", "KILL", address), OK, "CLIENT KILL address")
        other.expect_closed()
        me = str(c.must("CLIENT", "ID"))
        check_equal(c.call("CLIENT", "KILL", "ID", me), 0, "oneself is left out")
        check_equal(c.call("CLIENT", "KILL", "ID", me, "SKIPME", "no"), 1, "oneself")
        c.expect_closed()


@test()
def options_are_refused_with_a_reason(s):
    between = "argument must be between 0 and 2147483647 inclusive"
    immutable = failed("databases", "can't set immutable config")
    with s.client() as c:
        hz = c.must("CONFIG", "GET", "hz")
        expect(c, [
            (("CONFIG",), arity("config")), (("CONFIG", "FOO"), Error("ERR unknown subcommand 'FOO'. Try CONFIG HELP.")),
            (("CONFIG", "GET"), arity("config|get")), (("CONFIG", "GET", "nonexistent"), []), (("CONFIG", "SET", "hz"), arity("config|set")),
            (("CONFIG", "SET", "hz", "20", "timeout"), SYNTAX), (("CONFIG", "SET", "databases", "4"), immutable),
            (("CONFIG", "SET", "hz", "77", "databases", "4"), immutable),
            (("CONFIG", "SET", "foo", "1"), Error("ERR Unknown option or number of arguments for CONFIG SET - 'foo'")),
            (("CONFIG", "SET", "hz", "77", "hz", "78"), failed("hz", "duplicate parameter")),
            (("CONFIG", "SET", "hz", "77", "timeout", "a"), failed("timeout", "argument couldn't be parsed into an integer")),
            (("CONFIG", "SET", "timeout", "-1"), failed("timeout", between)),
            (("CONFIG", "SET", "maxmemory", "1xb"), failed("maxmemory", "argument must be a memory value")),
            (("CONFIG", "GET", "hz"), hz), (("CONFIG", "GET", "HZ"), [b"HZ", hz[1]]), (("CONFIG", "GET", "[h]?", "hz"), hz),
            (("CONFIG", "RESETSTAT", "x"), arity("config|resetstat")), (("CONFIG", "RESETSTAT"), OK),
        ])


@test()
def the_end_is_not_reached_by_mistake(s):
    with s.client() as c:
        expect(c, [
            (("SHUTDOWN", "x"), SYNTAX), (("SHUTDOWN", "ABORT"), Error("ERR No shutdown in progress.")),
            (("SHUTDOWN", "ABORT", "NOW"), SYNTAX), (("SHUTDOWN", "SAVE", "NOSAVE"), SYNTAX), (("TIME", "x"), arity("time")),
            (("INFO", "nonexistent"), b""), (("QUIT",), OK),
        ])
        c.expect_closed()
