"""A server grew faster than PID 1 can count, the kernel was the one to end it, and nobody said for what. Its end says
now what it used and what it may, by the most that the kernel saw it have; files that it had mapped are not among that.
PID 1 stands still here for the moment, as if it got no processor."""
import os
import pathlib
import signal
import threading
import time
import unittest

from attack import Attack, SERVER
from program import until

LIMIT = 100  # MiB
TAKE = "held = bytearray(b'x') * (1 << 30)"
MAP = """
import mmap, os
path = os.path.expanduser("~/mapped")
with open(path, "wb") as file:
    for _ in range(200): file.write(b"x" * (1 << 20))
    os.fsync(file.fileno())
mapped = mmap.mmap(os.open(path, os.O_RDONLY), 0, prot=mmap.PROT_READ, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
"""


def read(pid, name):
    return pathlib.Path("/proc", str(pid), name).read_text()


def fields(pid):
    return dict(line.split(":\t", 1) for line in read(pid, "status").splitlines() if ":\t" in line)


def process_with(argument):
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if argument.encode() in (process / "cmdline").read_bytes().split(b"\0") and fields(process.name)["NSpid"]:
                return int(process.name)
        except OSError:
            continue
    return None


def sandbox_of(pid):
    """PID 1 of the sandbox that the process is in, not that of its own namespace."""
    found, at = None, pid
    while at > 1:
        status = fields(at)
        numbers = status["NSpid"].split()
        if status["Name"] == "mcpbox-init" and len(numbers) == 2 and numbers[1] == "1":
            found = at
        at = int(status["PPid"])
    return found


def is_over(pid):
    try:
        return read(pid, "stat").rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@unittest.skipUnless(os.geteuid() == 0, "stops PID 1 of a sandbox")
class KernelFaster(Attack):
    def setUp(self):
        super().setUp()
        names = "hog", "mapper"
        self.start({name: {**SERVER, "args": [*SERVER["args"], f"{self.home.root.name}-{name}"],
                           "box": {"memory_mb": LIMIT}} for name in names}, box={"limits": {"memory_mb": 384}})
        self.hog, self.mapper = (process_with(f"{self.home.root.name}-{name}") for name in names)
        self.init = sandbox_of(self.hog)
        self.assertEqual(self.init, sandbox_of(self.mapper), "they share a sandbox")

    def calls(self, server, code):
        """What the call says in the end, in a list. Nobody is waited for as long as PID 1 stands still."""
        said = []
        calling = threading.Thread(target=lambda: said.append(self.home.run("call", server, "py", f"code={code}")))
        calling.start()
        self.addCleanup(calling.join)
        self.addCleanup(os.kill, self.init, signal.SIGCONT)
        return said

    def test_its_end_says_what_it_used(self):
        os.kill(self.init, signal.SIGSTOP)
        said = self.calls("hog", TAKE)
        until(lambda: is_over(self.hog), "the kernel ends it")
        os.kill(self.init, signal.SIGCONT)
        until(lambda: said, "its call is answered")
        self.assertRegex(said[0].stderr, r"server 'hog' was ended: it used [0-9,]+ MiB of memory, its limit is "
                         rf"{LIMIT} \(box.memory_mb")

    def test_nobody_used_the_files_that_it_maps(self):
        """Where each server has a control group (native, as root) the kernel itself says whose limit it was."""
        self.assertEqual(self.py("mapper", MAP), "")
        time.sleep(2)  # it is looked at
        os.kill(self.init, signal.SIGSTOP)
        said, other = self.calls("hog", TAKE), self.calls("mapper", "import time; time.sleep(60)")
        until(lambda: is_over(self.hog), "the kernel ends it")
        os.kill(self.mapper, signal.SIGKILL)
        until(lambda: is_over(self.mapper), "somebody ends that one")
        os.kill(self.init, signal.SIGCONT)
        until(lambda: said and other, "their calls are answered")
        self.assertIn("server 'hog' was ended: it used", said[0].stderr)
        self.assertNotIn("it used", other[0].stderr)


if __name__ == "__main__":
    unittest.main()
