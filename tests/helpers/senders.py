"""Sends many requests to a run: senders.py RUN NAME COUNT, as another window or shell would."""

from __future__ import annotations

import sys

from self6d.runs.control import send

for number in range(int(sys.argv[3])):
    send(sys.argv[1], "live", {f"loss.{sys.argv[2]}": float(number)})
