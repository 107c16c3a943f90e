"""Two hundred processes of a fork bomb that were put behind by priority still went before their neighbours, since each
is one more to choose from. A server has a control group for processors, in a container as well: mcpbox as root makes it
from outside, below the container's own."""
import os
import pathlib
import signal
import time
import unittest

from attack import Attack, SOURCE
from engine import ENGINE
from program import until
from server_groups_test import SPIN, groups_of

FIRST = pathlib.Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").exists()
BUSY = """
import os, time
for _ in range(15):
    if os.fork() == 0:
        end = time.monotonic() + 8
        while time.monotonic() < end: pass
        os._exit(0)
"""
# What a server in there finds of its descriptors.
FDS = "import os\nprint(sorted(os.listdir('/proc/self/fd'), key=int)[:-1])"
WRITE = """
import pathlib
tried = 0
for path in pathlib.Path('/sys/fs/cgroup').rglob('cpu.shares'):
    tried += 1
    try: path.write_text('2'); print('written', path)
    except OSError: pass
print('tried', tried > 0)
"""


@unittest.skipIf(os.geteuid() != 0, "only root makes groups, and sees the processes of others")
@unittest.skipIf(ENGINE == "docker" and not FIRST, "in a container only control groups of version 1 are made")
class ProcessorGroups(Attack):
    def setUp(self):
        super().setUp()
        boxes = {"hog": {}, "neighbour": {}, "slow": {"cpus": 0.5}}
        self.servers = {name: {"command": "python3", "args": ["-u", "-c", SOURCE, self.mark(name)], "box": box}
                        for name, box in boxes.items()}
        self.daemon = self.start(self.servers)

    def mark(self, server):
        return f"{self.home.root.name}-{server}"

    def group(self, server):
        return until(lambda: groups_of(self.mark(server)), f"{server} runs")["cpu"]

    def test_each_has_its_own_below_that_of_the_sandbox_and_cannot_change_any(self):
        hog, neighbour = self.group("hog"), self.group("neighbour")
        self.assertNotEqual(hog, neighbour)
        self.assertEqual(hog.parent, neighbour.parent, "of one sandbox")
        if ENGINE == "docker":
            self.assertEqual(hog.parent.name, "servers")
            self.assertRegex(hog.parent.parent.name, "^(docker-)?[0-9a-f]{64}([.]scope)?$", "the container's own")
        for name in ("hog", "neighbour"):
            # Of version 1 a container shows them all, read-only; a native sandbox none.
            self.assertEqual(self.py(name, WRITE).strip(), f"tried {ENGINE == 'docker' and FIRST}")
            self.assertEqual(self.py(name, FDS).strip(), "['0', '1', '2']")

    @unittest.skipUnless(FIRST, "where the file is, is known of version 1")
    def test_who_presses_stands_behind_as_long_as_it_does(self):
        hog, neighbour = (self.group(name) / "cpu.idle" for name in ("hog", "neighbour"))
        if not hog.exists():
            self.skipTest("the kernel has no cpu.idle")
        self.py("hog", BUSY)
        until(lambda: hog.read_text() == "1\n", "it is behind", 8)
        self.assertEqual(neighbour.read_text(), "0\n")
        until(lambda: hog.read_text() == "0\n", "it is back", 60)

    def test_a_spinner_has_the_processors_that_it_names(self):
        self.py("slow", SPIN)
        group = self.group("slow")
        used = [0, 0]
        for at in range(2):
            for pid in (group / "cgroup.procs").read_text().split():
                fields = pathlib.Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()
                used[at] += int(fields[11]) + int(fields[12])
            time.sleep(2 * (1 - at))
        self.assertLess((used[1] - used[0]) / 200, 0.7, "processors; it names 0.5")

    def test_the_next_daemon_goes_on_with_them_and_removes_them(self):
        sandbox = self.group("neighbour").parent
        self.daemon.send_signal(signal.SIGKILL)
        self.daemon.wait()
        self.start(self.servers)
        for name in ("hog", "neighbour"):
            self.assertEqual(self.group(name).parent, sandbox, "the sandbox is the same one")
        self.assertNotEqual(self.group("hog"), self.group("neighbour"))
        self.assertEqual(self.home.run("down", timeout=120).returncode, 0)
        until(lambda: not sandbox.exists(), "it is gone with those in it")


if __name__ == "__main__":
    unittest.main()
