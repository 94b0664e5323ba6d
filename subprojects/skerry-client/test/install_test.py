#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What an installed skerry-client is: the symbols that it shows, its SONAME, its man page, and a program built by pkg-config that runs.
Usage: install_test.py SOURCE BUILD FAKE_SERVER_HASHER CC..."""

import glob
import os
import re
import subprocess
import sys
import tempfile

SOURCE, BUILD, HASHER, CC = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
passed = failed = 0


def claim(name, holds, detail=""):
    global passed, failed
    passed, failed = passed + bool(holds), failed + (not holds)
    print(f"{'ok  ' if holds else 'FAIL'} {name} {'' if holds else detail}")


def run(*command, **options):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, **options)


with open(os.path.join(SOURCE, "include", "skerry", "client.h")) as header:
    declared = set(re.findall(r"\b(skerry_client_\w+)\(", "".join(line for line in header if line.startswith("SKERRY_CLIENT_"))))

with tempfile.TemporaryDirectory() as root:
    library = glob.glob(os.path.join(BUILD, "libskerry-client.so.?.?.?"))
    claim("there is one shared library", len(library) == 1, library)
    shown = {line.split()[-1].split("@")[0] for line in run("nm", "-D", "--defined-only", library[0]).stdout.splitlines()} - {"SKERRY_CLIENT_0"}
    claim("it shows what the header declares and nothing else", shown == declared, f"{shown ^ declared}")
    claim("its SONAME names the ABI", "[libskerry-client.so.0]" in run("readelf", "-d", library[0]).stdout)
    archived = run("nm", "--defined-only", "-g", os.path.join(BUILD, "libskerry-client.a")).stdout
    strange = [line for line in archived.splitlines() if re.search(r" [A-Z] (?!skerry_client_|skc_|__asan|__odr|__ubsan|__sancov|__start|__stop|\.)\w", line)]
    claim("the archive's names begin with skerry_client_ or skc_", not strange, strange)

    def install(path, *places):
        target = os.path.join(root, *places)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(path, "rb") as source, open(target, "wb") as out:
            out.write(source.read())

    # As `meson install` would, without asking it: this build may be inside of another project's.
    install(os.path.join(SOURCE, "include", "skerry", "client.h"), "include", "skerry", "client.h")
    for name in ("libskerry-client.so", "libskerry-client.so.0"):
        install(library[0], "lib", name)
    found = glob.glob(os.path.join(BUILD, "meson-private", "skerry-client.pc")) + glob.glob(
        os.path.join(BUILD, "..", "..", "meson-private", "skerry-client.pc"))
    claim("there is a file for pkg-config", found)
    os.makedirs(os.path.join(root, "pc"))
    with open(found[0]) as text, open(os.path.join(root, "pc", "skerry-client.pc"), "w") as out:
        content = re.sub(r"^prefix=.*$", f"prefix={root}", text.read(), flags=re.M)
        out.write(re.sub(r"^libdir=.*$", "libdir=${prefix}/lib", content, flags=re.M))
    environment = dict(os.environ, PKG_CONFIG_PATH=os.path.join(root, "pc"), LD_LIBRARY_PATH=os.path.join(root, "lib"))
    flags = run("pkg-config", "--cflags", "--libs", "skerry-client", env=environment).stdout.split()
    program = os.path.join(root, "program")
    built = run(*CC, "-Wall", "-Wextra", "-Werror", os.path.join(SOURCE, "examples", "blocking.c"), "-o", program, *flags)
    claim("a program is built with what pkg-config says", built.returncode == 0, built.stdout[-500:])
    server = subprocess.Popen([sys.executable, os.path.join(SOURCE, "test", "fake_server.py"), "--direct", "--hasher", HASHER],
                              stdout=subprocess.PIPE, text=True)
    ran = run(program, f"127.0.0.1:{int(server.stdout.readline())}", env=environment)
    claim("and runs with the shared library", ran.returncode == 0 and "user:42 is Ada" in ran.stdout, ran.stdout[-500:])
    with open(os.path.join(root, "in-cpp.cc"), "w") as out:
        out.write("#include <skerry/client.h>\nint main() { return skerry_client_hash(0, 0) == 0; }\n")
    if run("g++", "--version").returncode == 0:
        plus = run("g++", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I" + os.path.join(root, "include"), os.path.join(root, "in-cpp.cc"))
        claim("the header is C++ too", plus.returncode == 0, plus.stdout[-500:])
    server.kill()

page = open(os.path.join(SOURCE, "man", "skerry-client.3")).read()
named = set(re.findall(r"\b(skerry_client_[a-z_]+)\(", page))
claim("the man page names only what there is", named and named <= declared, named - declared)
with open(os.path.join(SOURCE, "meson.build")) as build, open(os.path.join(SOURCE, "include", "skerry", "client.h")) as header:
    version = re.search(r"version: '(\d+)\.(\d+)\.(\d+)'", build.read()).groups()
    claim("header and project are of one version", version == tuple(re.findall(r"_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)", header.read())))
print(f"{passed} passed, {failed} failed")
sys.exit(failed != 0)
