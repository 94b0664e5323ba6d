# SPDX-License-Identifier: Apache-2.0
"""Builds skerry_client._native: the C library's sources, compiled into the extension, behind the declarations of its own header.
Needs a C compiler and xxHash's header; the extension needs nothing at run time but the C library."""

import os
import re

from cffi import FFI

HERE = os.path.dirname(os.path.abspath(__file__))


def declarations():
    """client.h without what only a preprocessor understands."""
    with open(os.path.join(HERE, "..", "include", "skerry", "client.h"), encoding="utf-8") as header:
        text = header.read()
    text = re.sub(r"//.*", "", text)
    text = re.sub(r"#ifdef __cplusplus.*?#endif", "", text, flags=re.S)
    text = re.sub(r"^#(?:.*\\\n)*.*$", "", text, flags=re.M)
    return re.sub(r"\bSKERRY_CLIENT_(PUBLIC|CHECK)\b", "", text)


ffi = FFI()
ffi.cdef(declarations())
ffi.set_source(
    "skerry_client._native",
    "#include <skerry/client.h>",
    # Relative, as setuptools wants them.
    sources=sorted(os.path.join("..", "src", name) for name in os.listdir(os.path.join(HERE, "..", "src")) if name.endswith(".c")),
    include_dirs=[os.path.join("..", "include")],
    define_macros=[("_GNU_SOURCE", None), ("XXH_INLINE_ALL", None), ("Py_LIMITED_API", "0x03090000")],
    extra_compile_args=["-std=c17", "-O2", "-fvisibility=hidden"],
    py_limited_api=True,
)

if __name__ == "__main__":
    ffi.compile(verbose=True)
