"""Two servers in one sandbox shared /dev/shm, loopback, abstract sockets and the list of processes; none of them could
use /tmp, open a port or say who it is. Each has namespaces of its own now: it may do all of it, and its neighbour sees
nothing of that."""
import unittest

from attack import Attack, SERVER

SELF_TALK = """
import socket
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen()
c = socket.create_connection(s.getsockname()); a, _ = s.accept(); c.send(b"hello"); print(a.recv(9).decode())
"""
NAMES = """
import getpass, os, pwd, subprocess
print(pwd.getpwuid(os.getuid()).pw_name, os.getuid())
if getpass.getuser() != "mcpbox": print(getpass.getuser())
if subprocess.run(["sh", "-c", "command -v node"], capture_output=True).returncode == 0:
    print(subprocess.run(["node", "-p", "os.userInfo().username"], capture_output=True, text=True).stdout, end="")
else:
    print("mcpbox")
"""
TMP = """
import os, subprocess
open("/tmp/x", "w").write("#!/bin/sh\\necho ran"); os.chmod("/tmp/x", 0o755)
print(subprocess.run(["/tmp/x"], capture_output=True, text=True).stdout, end="")
"""
SHARED = """
import multiprocessing
def twice(n): return n * 2
with multiprocessing.Pool(2) as pool: print(pool.map(len, ["a", "bb"]))
from multiprocessing import shared_memory
m = shared_memory.SharedMemory(create=True, size=4096, name="mine"); print(m.size)
"""
TERMINAL = """
import os, pty
m, s = pty.openpty(); os.write(s, b"tty"); print(os.read(m, 3).decode())
"""
# What a server leaves for its neighbour to find.
TRACES = """
import socket, subprocess
listening = socket.socket(); listening.bind(("127.0.0.1", 7777)); listening.listen()
abstract = socket.socket(socket.AF_UNIX); abstract.bind("\\0mine"); abstract.listen()
for path in "/tmp/mine", "/dev/shm/mine": open(path, "w").write("mine")
child = subprocess.Popen(["sleep", "1234"])
print("left")
"""
SEEK = """
import os, socket
print("files", os.listdir("/tmp"), os.listdir("/dev/shm"))
for family, address in (socket.AF_INET, ("127.0.0.1", 7777)), (socket.AF_UNIX, "\\0mine"):
    try: socket.socket(family).connect(address); print("REACHED", address)
    except OSError: pass
for pid in filter(str.isdigit, os.listdir("/proc")):
    if b"1234" in open(f"/proc/{pid}/cmdline", "rb").read(): print("SEEN", pid)
squat = socket.socket(); squat.bind(("127.0.0.1", 7777)); print("bound")
"""
FILL = """
piece = b"x" * (1 << 20)
with open("/dev/shm/full", "wb") as file:
    try:
        while True: file.write(piece); file.flush()
    except OSError as error: print(error.strerror)
"""


class OwnNamespaces(Attack):
    def setUp(self):
        super().setUp()
        self.start({name: SERVER for name in ("one", "two")})

    def test_a_server_uses_what_is_its_own(self):
        for name, code, told in (("loopback", SELF_TALK, "hello\n"), ("names", NAMES, "mcpbox 1000\nmcpbox\n"),
                                 ("tmp", TMP, "ran\n"), ("shared memory", SHARED, "[1, 2]\n4096\n"),
                                 ("terminal", TERMINAL, "tty\n")):
            with self.subTest(name):
                self.assertEqual(self.py("one", code), told)

    def test_a_server_on_its_own_does_too(self):
        code = "\n".join((SELF_TALK, NAMES, TMP, SHARED, TERMINAL))
        ended = self.home.run("run", "--engine", self.engine, "--direct", "--network", "none", "--",
                              "python3", "-c", code)
        self.assertEqual(ended.stdout, "hello\nmcpbox 1000\nmcpbox\nran\n[1, 2]\n4096\ntty\n", ended.stderr)

    def test_a_neighbour_sees_nothing_of_it(self):
        self.assertEqual(self.py("one", TRACES), "left\n")
        self.assertEqual(self.py("two", SEEK), "files [] []\nbound\n")

    def test_a_neighbours_full_shared_memory_is_its_own(self):
        self.assertEqual(self.py("one", FILL), "No space left on device\n")
        self.assertEqual(self.py("two", SHARED), "[1, 2]\n4096\n")


if __name__ == "__main__":
    unittest.main()
