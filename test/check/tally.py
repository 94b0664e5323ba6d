#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Adds up what the tests of one `meson test` run said: shows the output of those that failed and ends with
"N passed, N failed", counting claims, not programs.

    tally.py testlog.json [SECOND.json]   SECOND: another look at those that failed; who passes there is shown as unsteady, and passes
    tally.py --look-again testlog.json    names of failed tests that deserve one: of the unit suite, no crash, no sanitizer's finding
"""

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


def read(path):
    with open(path, encoding="utf-8") as log:
        return [json.loads(line) for line in log]


def output_of(test):
    return (test.get("stdout") or "") + (test.get("stderr") or "")


def deserves_another_look(test):
    """Tests that meet the real kernel's scheduler may lose a race against a machine that stands still; a crash is no such thing."""
    return (test["result"] in ("FAIL", "TIMEOUT") and (test.get("returncode") or 0) >= 0 and ":unit" in test["name"]
            and not re.search(r"Sanitizer|runtime error:|Assertion", output_of(test)))


def look_again(tests):
    print("\n".join(test["name"].split(" / ")[-1] for test in tests if deserves_another_look(test)))


def main():
    if sys.argv[1] == "--look-again":
        look_again(read(sys.argv[2]))
        return 0
    second = {test["name"]: test for test in read(sys.argv[2])} if len(sys.argv) > 2 else {}
    passed = failed = 0
    for test in read(sys.argv[1]):
        if test["result"] == "SKIP":
            print(f"SKIP {test['name']}: {(test.get('stdout') or '').strip()[-200:]}")
            continue
        p, f = counts_of(test)
        again = second.get(test["name"])
        if f:
            unsteady = again is not None and counts_of(again)[1] == 0
            print(f"{'UNSTEADY' if unsteady else 'FAIL'} {test['name']} ({test['result']}, {test.get('returncode')})")
            print("\n".join("    " + text for text in output_of(test).splitlines() if not text.startswith("ok  "))[-6000:])
            if unsteady:
                p, f = counts_of(again)
        passed, failed = passed + p, failed + f
    print(f"{passed} passed, {failed} failed")
    return failed != 0 or passed == 0


sys.exit(main())
