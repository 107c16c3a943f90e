"""A server of the native engine used up what the kernel counts for whoever runs mcpbox: pending signals, inotify
instances and watches. timer_create and inotify_init failed for root of the machine, and for every neighbour, until the
server ended; then each server had a part, and eight of them used up an ordinary user's. Every other counter of
/proc/sys/user is tried too."""
import pathlib
import subprocess
import sys
import unittest

from attack import Attack, SERVER  # and as an ordinary user

LIBRARY = """
import ctypes, os, signal
libc = ctypes.CDLL(None, use_errno=True)
"""
# Each takes as many as it gets, keeps them, and prints how many.
PENDING = LIBRARY + """
number = signal.SIGRTMIN + 3
signal.pthread_sigmask(signal.SIG_BLOCK, [number])
count = 0
while count < 2_000_000 and libc.sigqueue(os.getpid(), number, None) == 0: count += 1
print(count)
"""
INSTANCES = LIBRARY + """
instances = []
while len(instances) < 4000 and (fd := libc.inotify_init1(0)) >= 0: instances.append(fd)
print(len(instances))
"""
WATCHES = LIBRARY + """
import tempfile
while len(instances) > 70: os.close(instances.pop())
top = tempfile.mkdtemp()
folders = [f"{top}/{i}".encode() for i in range(3_000)]
for folder in folders: os.mkdir(folder)
count = sum(libc.inotify_add_watch(instance, folder, 2) >= 0 for instance in instances for folder in folders)
print(count)
"""
NAMESPACES = LIBRARY + """
flags = {"user": 0x10000000, "mnt": 0x20000, "pid": 0x20000000, "net": 0x40000000, "ipc": 0x8000000,
         "uts": 0x4000000, "cgroup": 0x2000000, "time": 0x80}
print(*[name for name, flag in flags.items() if libc.unshare(flag) == 0], libc.fanotify_init(0x200, 0) >= 0)
"""
# What others need, and get.
NEED = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
timer = ctypes.c_void_p()
got = [libc.timer_create(0, None, ctypes.byref(timer)) == 0, (fd := libc.inotify_init1(0)) >= 0,
       libc.inotify_add_watch(fd, b"/", 2) >= 0]
print(*got)
"""
FINE = "True True True\n"


class KernelCounters(Attack):
    def whoever_runs_it_is_fine(self):
        outside = subprocess.run([sys.executable, "-c", NEED], capture_output=True, text=True).stdout
        self.assertEqual(outside, FINE, "whoever runs mcpbox")

    def others_are_fine(self):
        self.whoever_runs_it_is_fine()
        self.assertEqual(self.py("good", NEED), FINE, "the neighbour")

    def test_one_server_uses_up_nobody_elses_kernel_counters(self):
        self.start({"evil": SERVER, "good": SERVER})
        self.others_are_fine()
        for name, code in (("pending signals", PENDING), ("inotify instances", INSTANCES),
                           ("inotify watches", WATCHES)):
            with self.subTest(name):
                self.assertGreater(int(self.py("evil", code)), 0)
                self.others_are_fine()

    def test_nor_do_all_servers_together(self):
        accomplices = [f"evil{number}" for number in range(8)]
        self.start({name: SERVER for name in accomplices})
        for name, code in (("pending signals", PENDING), ("inotify instances", INSTANCES)):
            with self.subTest(name):
                for server in accomplices:
                    self.py(server, code)
                self.whoever_runs_it_is_fine()

    def test_what_no_server_makes_is_counted_for_none(self):
        self.start({"evil": SERVER})
        self.assertEqual(self.py("evil", NAMESPACES), "False\n")
        counters = sorted(path.name for path in pathlib.Path("/proc/sys/user").iterdir())
        allowed = {"max_inotify_instances", "max_inotify_watches"}
        seen = self.py("evil", "import os\nprint(*[f'{n}={open(\"/proc/sys/user/\" + n).read().strip()}' "
                               "for n in sorted(os.listdir('/proc/sys/user'))])")
        for pair in seen.split():
            name, value = pair.split("=")
            with self.subTest(name):
                self.assertIn(name, counters)
                most = int(pathlib.Path("/proc/sys/user", name).read_text())
                self.assertLessEqual(int(value), most / 8 if name in allowed else 0)
        self.assertEqual(len(seen.split()), len(counters))


if __name__ == "__main__":
    unittest.main()
