# SPDX-License-Identifier: Apache-2.0
"""The parts of bench/lab.py: plan (what to measure), servers (who is measured), measure (one window), summary (medians,
spread, verdicts), svg (pictures), report (the page)."""
