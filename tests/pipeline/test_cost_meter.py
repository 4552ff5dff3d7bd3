"""What is measured of a component: its own process, those that it starts, and those that are gone by its end."""

import pathlib
import subprocess
import sys

from pipeline import cost_meter

PROJECT = pathlib.Path(__file__).resolve().parents[2]
_BURN = 'import time\nwhile time.process_time() < {}: pass\n'


def test_processor_time_of_children_that_ended_and_of_those_that_go_on():
    with cost_meter.running() as meter:
        subprocess.run([sys.executable, '-c', _BURN.format(0.5)], check=True)
        going_on = subprocess.Popen([sys.executable, '-c', _BURN.format(0.5) + 'print(flush=True)\ninput()'],
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        going_on.stdout.readline()
        cost = meter.cost('Transform_a')
    going_on.communicate(b'\n')
    assert cost.component == 'Transform_a' and 0.9 <= cost.cpu_seconds and cost.seconds > 0


def test_the_peak_has_the_memory_of_a_child():
    with cost_meter.running() as meter:
        before = meter.cost('').peak_bytes
        code = 'x = bytearray(b"x") * (300 << 20)\nprint(flush=True)\ninput()'
        child = subprocess.Popen([sys.executable, '-c', code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        child.stdout.readline()
        meter.look()
        child.communicate(b'\n')
        assert meter.cost('').peak_bytes >= before + (300 << 20)


def test_the_peak_has_what_this_process_gave_back():
    """In a process of its own: one that runs tests has had more memory than a test should take once more."""
    code = """
from pipeline import cost_meter
meter = cost_meter.Meter()
block = bytearray(b'x') * (300 << 20)
del block
assert meter.cost('').peak_bytes >= 300 << 20
"""
    subprocess.run([sys.executable, '-c', code], check=True, cwd=PROJECT)


def test_a_component_that_does_nothing_took_no_processor_time_of_others():
    with cost_meter.running() as meter:
        cost = meter.cost('')
    assert cost.cpu_seconds < 5 and cost.peak_bytes > 0
