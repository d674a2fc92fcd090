"""Runs leave the cores to each other while their threads wait."""

import os
import subprocess
import sys


def test_threads_sleep_while_they_wait():
    code = (
        "import os, sys; from self6d import cli; assert 'torch' not in sys.modules; "
        "print(os.environ['OMP_WAIT_POLICY'])"
    )
    clean = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=clean
    )
    assert done.stdout.strip() == "PASSIVE"
