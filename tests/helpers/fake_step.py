"""Does a step of the device check, as its task says: python fake_step.py TASK.

well    finds something
fails   says what is wrong
skips   says why it is left out
crashes ends by a signal
hangs   finds something, starts a process in a session of its own, and waits
turns   has the device to itself for a while, and says when
"""

import os
import pathlib
import signal
import subprocess
import sys
import time

from tokenjax.device_check import task as tasks
from tokenjax.device_check.findings import Findings
from tokenjax.device_check.turns import Turns

HELD = 0.2  # seconds


def main(path):
    task = tasks.read(pathlib.Path(path))
    turns = Turns(pathlib.Path(task.turns), task.name)
    findings = Findings(pathlib.Path(task.findings), task.started, turns)
    does = task.arguments["does"]
    print(f"this is {task.name}", flush=True)
    findings.add(limit=task.seconds, peak=task.peak, tiny=task.tiny)
    if does == "well":
        findings.add(measured_peak_flops=2.5)
        findings.say("all is well")
    elif does == "fails":
        findings.fail("two is not three")
    elif does == "skips":
        findings.skip("there is one device")
    elif does == "crashes":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif does == "hangs":
        child = subprocess.Popen(["sleep", "600"], start_new_session=True)
        findings.add(child=child.pid)
        time.sleep(600)
    elif does == "turns":
        with findings.alone():
            begun = time.time()
            time.sleep(HELD)
            findings.add(turn=[begun, time.time()])
        findings.add(seconds=findings.seconds(), whole=time.time() - task.started)


if __name__ == "__main__":
    main(sys.argv[1])
