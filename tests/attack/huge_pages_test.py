"""Huge pages of the machine's pool are in no process's resident set and in no control group: a server took all of them,
past its own limit, from the data base that they were set aside for."""
import json
import os
import pathlib
import subprocess
import sys
import unittest

from engine import address
from program import Home, until

SOURCE = (pathlib.Path(__file__).parent / "exec_server.py").read_text()
POOL = pathlib.Path("/proc/sys/vm/nr_hugepages")
# With or without a name; -1 as an address: none.
TAKE = """
import ctypes, errno, mmap, os
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype, none = ctypes.c_size_t, ctypes.c_size_t(-1).value
size, huge, shared = 2 << 20, 0x40000, 1
def take(flags, file):
    at = libc.mmap(None, ctypes.c_size_t(size), 3, flags, file, ctypes.c_long(0))
    if at == none: return errno.errorcode[ctypes.get_errno()]
    ctypes.memset(at, 1, size)
    return "taken"
file = libc.memfd_create(b"x", 4)
print(take(0x22 | huge, -1), take(0x21 | huge, -1), "none" if file < 0 else take(shared, file))
"""


@unittest.skipUnless(os.geteuid() == 0, "sets pages aside")
class HugePages(unittest.TestCase):
    def setUp(self):
        before = POOL.read_text()
        self.addCleanup(POOL.write_text, before)
        POOL.write_text(str(int(before) + 4))
        self.home = Home()
        self.addCleanup(self.home.close)
        server = {"command": "python3", "args": ["-u", "-c", SOURCE], "box": {"memory_mb": 512}}
        self.home.config.write_text(json.dumps({"version": 1, "servers": {"evil": server}}))
        self.home.serve(engine=address())
        until(self.home.answers, "the daemon answers")
        until(lambda: self.home.status()["servers"][0]["state"] == "connected", "the server is there", 60)

    def test_they_stay_with_whom_they_were_set_aside_for(self):
        self.assertEqual(subprocess.run([sys.executable, "-c", TAKE], capture_output=True, text=True).stdout,
                         "taken taken taken\n", "where nothing stops it")
        asked = self.home.run("call", "evil", "py", "--json", json.dumps({"code": TAKE}), "--format", "json",
                              timeout=90)
        self.assertEqual(asked.returncode, 0, asked.stderr)
        self.assertEqual(json.loads(asked.stdout)["content"][0]["text"], "ENOMEM ENOMEM none\n")


if __name__ == "__main__":
    unittest.main()
