import os
import subprocess
import sys

from stockade.infra.proc_meter import ProcMeter

METER = ProcMeter()


def test_a_process_is_measured_from_outside() -> None:
    program = (
        "import sys\nkept = bytes(50_000_000)\nkept = bytes(range(256)) * 200_000\n"
        "print('ready', flush=True)\nsys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        held, used = METER.resident_bytes(child.pid), METER.cpu_seconds(child.pid)
        child.communicate()
    assert held is not None
    assert 50_000_000 < held < 500_000_000
    assert used is not None
    assert used >= 0
    assert METER.resident_bytes(child.pid) is None
    assert METER.cpu_seconds(child.pid) is None


def test_a_name_with_brackets_and_spaces_is_read() -> None:
    program = (
        "import ctypes, sys\nctypes.CDLL(None).prctl(15, b'a) 9 9 (b', 0, 0, 0)\n"
        "print('ready', flush=True)\nsys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        used = METER.cpu_seconds(child.pid)
        child.communicate()
    assert used is not None
    assert used < 100
    assert (METER.resident_bytes(os.getpid()) or 0) > 1_000_000
