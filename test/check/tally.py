#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Adds up what the tests of one `meson test` run said: shows the output of those that failed and ends with
"N passed, N failed", counting claims, not programs. Usage: tally.py testlog.json"""

import json
import re
import sys

COUNTS = re.compile(r"^(\d+) passed, (\d+) failed\s*$", re.M)


def counts_of(test):
    """A program that failed without saying so (a crash, a sanitizer's finding, a timeout) counts as one failure."""
    said = COUNTS.findall(test.get("stdout") or "")
    passed, failed = map(int, said[-1]) if said else (0, 0)
    good = test["result"] in ("OK", "EXPECTEDFAIL")
    if good and not said:
        passed = 1
    if not good and failed == 0:
        failed = 1
    return passed, failed


def main():
    passed = failed = 0
    with open(sys.argv[1], encoding="utf-8") as log:
        for line in log:
            test = json.loads(line)
            if test["result"] == "SKIP":
                print(f"SKIP {test['name']}: {(test.get('stdout') or '').strip()[-200:]}")
                continue
            p, f = counts_of(test)
            passed, failed = passed + p, failed + f
            if f:
                print(f"FAIL {test['name']} ({test['result']}, {test.get('returncode')})")
                lines = ((test.get("stdout") or "") + (test.get("stderr") or "")).splitlines()
                print("\n".join("    " + text for text in lines if not text.startswith("ok  "))[-6000:])
    print(f"{passed} passed, {failed} failed")
    return failed != 0 or passed == 0


sys.exit(main())
