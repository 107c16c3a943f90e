"""A sandbox ran out of memory before any server had passed its own limit: by what no process has mapped, or by the sum
of servers that name none. The kernel then chose by what single processes have, and the neighbour was the one. Whoever
has most above its part is ended now, by name, and nobody at or below its part ever is."""
import json
import pathlib
import threading
import time
import unittest

from engine import address  # and as an ordinary user
from program import Home, until

SOURCE = (pathlib.Path(__file__).parent / "exec_server.py").read_text()
ALL = 384  # MiB, of all servers together
HOLD = "import os; held, me = bytearray(b'x') * (60 << 20), os.getpid()"
PING = "print('same', me == os.getpid(), sum(held[::1 << 20]))"
UNDUMPABLE = """
import ctypes
assert ctypes.CDLL(None).prctl(4, 0, 0, 0, 0) == 0
"""
# Given up by who wrote it, and kept by the kernel as long as it is mapped: 1.2 times what the sandbox has.
GIVEN_UP = """
import mmap, time
held, piece = [], b"x" * (4 << 20)
for _ in range(150):
    held.append(mmap.mmap(-1, len(piece)))
    held[-1][:] = piece
    held[-1].madvise(mmap.MADV_DONTNEED)
    time.sleep(0.02)
time.sleep(20)
"""
# Each costs the kernel a fifth of a kilobyte, and no process has it.
MAPPINGS = """
import ctypes, os, time
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
protect = libc.mprotect
protect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
for _ in range(40):
    if os.fork() == 0:
        area = libc.mmap(None, ctypes.c_size_t(65000 << 12), 0, 0x4022, -1, ctypes.c_size_t(0))
        for at in range(0, 65000 << 12, 8192): protect(area + at, 4096, 1)
        time.sleep(60); os._exit(0)
time.sleep(60)
"""
# Less than a server may have, in processes that are smaller than those of its neighbours.
MANY = """
import os, time
for _ in range(150):
    if os.fork() == 0:
        held = bytearray(b"x") * (%d << 10)
        time.sleep(25); os._exit(0)
time.sleep(20)
""" % (ALL * 1024 * 6 // 10 // 150)
# Who hides more than it may have alone is ended for its own limit.
ENDED = (fr"was ended: (the memory of its sandbox was nearly used up \({ALL} MiB for all of its servers, "
         r"box.limits.memory_mb\), and it had most above its part: [0-9,]+ MiB; name what it needs|"
         fr"it used [0-9,]+ MiB of memory, its limit is {ALL - ALL // 4} \()")


class SandboxMemory(unittest.TestCase):
    def start(self, *hogs):
        self.home = Home()
        self.addCleanup(self.home.close)
        server = {"command": "python3", "args": ["-u", "-c", SOURCE]}
        self.home.config.write_text(json.dumps({"version": 1, "box": {"limits": {"memory_mb": ALL}},
                                                "servers": {name: server for name in (*hogs, "neighbour")}}))
        self.home.serve(engine=address())
        until(self.home.answers, "the daemon answers")
        until(lambda: all(server["state"] == "connected" for server in self.home.status()["servers"]),
              "all servers are there", 60)
        self.assertEqual(self.py("neighbour", HOLD).returncode, 0)

    def py(self, server, code):
        return self.home.run("call", server, "py", "--json", json.dumps({"code": code}), "--format", "json")

    def ends(self, *hogs, code):
        """One of them ends, which its call says, and the neighbour answers all the time: the same process."""
        self.start(*hogs)
        said, answers, over = {}, [], threading.Event()

        def run(name):
            said[name] = self.py(name, code).stderr

        def ask():
            while not over.is_set():
                answers.append(self.py("neighbour", PING))

        asking, running = threading.Thread(target=ask), [threading.Thread(target=run, args=[name]) for name in hogs]
        for thread in (asking, *running):
            thread.start()
        for thread in running:
            thread.join()
        time.sleep(0.3)
        over.set()
        asking.join()
        self.assertEqual([each.stderr for each in answers if "same True" not in each.stdout], [], said)
        named = [name for name in hogs if said[name]]
        self.assertNotEqual(named, [], "nobody was ended")
        for name in named:
            self.assertRegex(said[name], f"server '{name}' {ENDED}")

    def test_memory_that_no_process_has_mapped(self):
        self.ends("hog", code=GIVEN_UP)

    def test_of_processes_that_show_nothing(self):
        self.ends("hog", code=UNDUMPABLE + GIVEN_UP)

    def test_many_mappings(self):
        self.ends("hog", code=MAPPINGS)

    def test_two_that_have_less_than_they_may(self):
        self.ends("one", "two", code=MANY)


if __name__ == "__main__":
    unittest.main()
