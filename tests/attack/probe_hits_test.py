"""A probe that cannot hit proves nothing: where nothing confines them, in namespaces of this test, the attacks of
`mcpbox doctor --attack` do hit, as root and as an ordinary user, and what a server may do can be done."""

import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

PROBE = os.path.join(os.environ["MCPBOX_BUILD_DIR"], "bin", "mcpbox-probe")
TOKEN = "0123456789abcdef"
EVERYWHERE = {
    *(f"A{number:02}" for number in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 15, 18, 28, 29, 30, 31)),
    "B01",
    "B02",
    "B03",
}
WORKS = {"W01", "W02", "W03", "W04", "W05"}
# As root of everything also what needs capabilities, or a system that can be written.
OF_ROOT = {"A13", "A14", "A16", "A17", "A20", "A21", "A25", "A26", "A27", "A32", "B04", "B05", "B06", "B07", "B08"}
OF_USER = {"B08"}
# Where the kernel has them, and an administrator did not switch them off.
OF_KERNEL = {"A19", "A20", "A22", "A23", "A24", "A25", "A26", "A27", "B05", "B06"}


def attack(uid):
    """In namespaces of its own: one victim, one attacker, one service of the "host"; prints what the two say."""
    program = pathlib.Path(PROBE).read_bytes()  # before what may lie above it is covered
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    packages = f"/usr/lib/python{sys.version_info.major}/dist-packages"
    for mode, places in ("1777", ("/tmp", "/dev/shm", "/var/tmp")), (
        "755",
        ("/etc/profile.d", packages, "/usr/lib/node_modules", "/run"),
    ):
        for place in filter(os.path.isdir, places):
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"mode={mode}", "none", place], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    host = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            host.accept()[0].sendall(f"{TOKEN}-canary-host".encode())

    threading.Thread(target=serve, daemon=True).start()
    os.makedirs("/tmp/home", mode=0o777)
    os.chmod("/tmp/home", 0o777)
    other = "/tmp/other"
    for path in other, "/tmp/probe":
        pathlib.Path(path).write_bytes(program)
    os.chown(other, 65534 if uid == 0 else 0, -1)
    os.chmod("/tmp/probe", 0o755)
    os.chmod(other, 0o4755)
    options = {"cwd": "/tmp/home", "user": uid, "group": uid, "extra_groups": [], "text": True}
    heard, output = os.pipe()
    os.fchown(output, uid, uid)
    victim = subprocess.Popen(
        ["/tmp/probe", "victim", TOKEN],
        stdin=subprocess.PIPE,
        stdout=output,
        env={"API_SECRET": f"{TOKEN}-canary-env"},
        **options,
    )
    os.close(output)
    stdout = os.fdopen(heard)
    _, port, files, _ = stdout.readline().split()
    said = subprocess.run(
        [
            "/tmp/probe",
            "attack",
            TOKEN,
            f"pid={victim.pid}",
            f"port={port}",
            f"files={files}",
            f"host_port={host.getsockname()[1]}",
            "host=192.0.2.1",
            "host=127.0.0.1",
            f"setuid={other}",
        ],
        env={"HOME": "/tmp/home"},
        capture_output=True,
        timeout=60,
        **options,
    )
    print(said.stdout, said.stderr, sep="")
    print("victim", victim.wait(10), stdout.read().replace("\n", " "))


@unittest.skipUnless(os.geteuid() == 0, "confines nothing, which takes root to set up")
class ProbeHits(unittest.TestCase):
    def hits(self, uid):
        command = [
            "unshare",
            "--mount",
            "--pid",
            "--net",
            "--ipc",
            "--fork",
            "--kill-child",
            "--mount-proc",
            sys.executable,
            "-B",
            __file__,
            str(uid),
        ]
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=90, env={**os.environ, "TMPDIR": "/tmp"}
        )
        self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)
        self.assertIn("\nend\n", ended.stdout)
        self.assertIn(f"victim -9 forged {TOKEN}", ended.stdout)
        return {line.split()[0] for line in ended.stdout.splitlines() if line.split()[1:2] == ["hit"]}, ended.stdout

    def test_as_root_everything_hits(self):
        found, said = self.hits(0)
        expected = EVERYWHERE | OF_ROOT | WORKS
        self.assertEqual(expected - found - OF_KERNEL, set(), said)
        self.assertEqual(found - expected - OF_KERNEL, set(), said)

    def test_as_one_ordinary_user_what_needs_no_rights_hits(self):
        found, said = self.hits(1_899_999_999)
        expected = EVERYWHERE | OF_USER | WORKS - {"W04"}
        self.assertEqual(expected - found - OF_KERNEL, set(), said)
        self.assertEqual(found - expected - OF_KERNEL, set(), said)


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].isdigit():
        attack(int(sys.argv[1]))
    else:
        unittest.main()
