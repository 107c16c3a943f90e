"""One server used up the memory, or the processes, of a sandbox, and the kernel killed a neighbour of it. Whoever
uses more than its limit ends alone now, by name, whatever way it takes: one large block, many small processes,
shared memory, memory file systems."""
import os
import pathlib
import re
import shutil
import unittest

from engine import address
from hogs import Hogs
from program import Home


LARGE = """
held = bytearray(b"x") * (800 << 20)
"""
SMALL = """
import os, time
for _ in range(30):
    if os.fork() == 0:
        held = [bytearray(b"x") * (1 << 20)]
        for _ in range(25): held.append(bytearray(b"x") * (1 << 20)); time.sleep(0.002)
        time.sleep(60); os._exit(0)
time.sleep(20)
"""
SHARED = """
import mmap, time
held = mmap.mmap(-1, 500 << 20)
for at in range(0, len(held), 4096): held[at] = 1
time.sleep(20)
"""
# In small pieces, unlinked while they are open, mapped by nobody.
FILES = """
import os, time
held, piece = [], b"x" * (1 << 20)
for place in "/dev/shm", "/tmp":
    try:
        while len(held) < 120:
            name = f"{place}/{len(held)}"
            held.append(os.open(name, os.O_CREAT | os.O_RDWR)); os.unlink(name); os.write(held[-1], piece)
    except OSError: pass
block = bytearray(b"x") * (100 << 20)
time.sleep(20)
"""
# Nobody maps them, no name leads to them.
MEMFD = """
import os, time
held, piece = [], b"x" * (1 << 20)
for n in range(4):
    held.append(os.memfd_create("held"))
    for _ in range(100): os.write(held[-1], piece)
time.sleep(20)
"""
TABLES = """
import mmap, time
held = [mmap.mmap(-1, 64 << 30, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000) for _ in range(4)]
for one in held:
    one.madvise(mmap.MADV_NOHUGEPAGE)
    for at in range(0, len(one), 2 << 20): one[at]
time.sleep(20)
"""
FORKS = """
import os, time
while True:
    try:
        if os.fork() == 0: time.sleep(60); os._exit(0)
    except OSError: pass
"""
THREADS = """
import threading, time
threading.stack_size(65536)
for _ in range(400):
    try: threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    except RuntimeError: time.sleep(0.01)
time.sleep(20)
"""
PING = "print('pong')"
LIMIT = 200
BUILD = pathlib.Path(os.environ["MCPBOX_BUILD_DIR"])
HOGS = {"large": LARGE, "small": SMALL, "shared": SHARED, "files": FILES, "tables": TABLES, "memfd": MEMFD,
        "forks": FORKS, "threads": THREADS}
# Each of them has all of it, and together they have it once.
FORKED = """
import os, time
held = bytearray(b"x") * (90 << 20)
for _ in range(8):
    if os.fork() == 0: time.sleep(2); os._exit(0)
time.sleep(1.5)
print("lives")
"""
# Never more than 90 at once, and of them six by turns have 75 threads for a moment.
BURSTS = """
import os, threading, time
end = time.time() + 8
pipes = [os.pipe() for _ in range(6)]
for n in range(6):
    if os.fork() == 0:
        while time.time() < end:
            os.read(pipes[n][0], 1)
            threads = [threading.Thread(target=time.sleep, args=(0.05,)) for _ in range(75)]
            for each in threads: each.start()
            for each in threads: each.join()
            os.write(pipes[(n + 1) % 6][1], b"x")
        os._exit(0)
os.write(pipes[0][1], b"x")
for _ in range(6): os.wait()
print("lives")
"""


class ServerMemory(Hogs):
    hogs, ping = HOGS, PING

    @classmethod
    def setUpClass(cls):
        cls.start({"memory_mb": LIMIT, "pids_limit": 100}, ["forked"], box={"limits": {"overcommit": 10}})

    def test_whoever_uses_too_much_memory_ends_alone(self):
        for name in ("large", "small", "shared", "files", "tables"):
            with self.subTest(name):
                said = self.ends(name, fr"server '{name}' was ended: it used [0-9,]+ MiB of memory, its limit is "
                                 fr"{LIMIT} \(box.memory_mb\); raise")
                self.assertGreater(int(re.search("used ([0-9,]+)", said)[1].replace(",", "")), LIMIT)

    def test_no_memory_is_out_of_sight(self):
        # Where servers have control groups, the kernel sees it.
        if address() == "native" and os.geteuid() == 0:
            self.ends("memfd", fr"server 'memfd' was ended: it used [0-9,]+ MiB of memory, its limit is {LIMIT} \(")
        else:
            self.assertIn("Function not implemented", self.py("forked", MEMFD).stdout)

    def test_what_processes_share_counts_once(self):
        self.assertIn("lives", self.py("forked", FORKED).stdout)

    def test_whoever_starts_too_many_processes_ends_alone(self):
        for name in "forks", "threads":
            with self.subTest(name):
                said = self.ends(name, fr"server '{name}' was ended: it used [0-9,]+ processes and threads, "
                                 r"its limit is 100 \(box.pids_limit\); raise")
                # The kernel has room for twelve more, and there the forks under way count.
                used = int(re.search("used ([0-9,]+)", said)[1].replace(",", ""))
                self.assertTrue(100 <= used <= 112, said)

    def test_threads_that_are_gone_count_no_more(self):
        said = self.py("forked", BURSTS)
        self.assertIn("lives", said.stdout, said.stderr)


class OneServer(unittest.TestCase):
    def test_a_run_says_what_it_used(self):
        home = Home()
        self.addCleanup(home.close)
        ended = home.run("run", "--engine", address(), "--direct", "--network", "none", "--memory", "100", "--",
                         "python3", "-c", LARGE)
        self.assertEqual(ended.returncode, 137, ended.stderr)
        self.assertRegex(ended.stderr,
                         r"mcpbox: server 'python3' was ended: it used [0-9,]+ MiB of memory, its limit is 100 ")

    def test_many_short_processes_within_the_limit_are_no_crowd(self):
        # Forty-five that have a child each, which ends and is replaced at once: a look meets many more than once. Never
        # more than 91 are there, and an interpreter forks too slowly for this.
        home = Home()
        self.addCleanup(home.close)
        folder = home.root / "churn"
        folder.mkdir()
        shutil.copy(BUILD / "tests" / "test_churn", folder)
        ended = home.run("run", "--engine", address(), "--direct", "--network", "none", "--pids", "100", "--mount",
                         str(folder), "--", str(folder / "test_churn"), "45", "4")
        self.assertEqual((ended.returncode, ended.stdout), (0, "lives\n"), ended.stderr)


if __name__ == "__main__":
    unittest.main()
