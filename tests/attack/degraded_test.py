"""On a kernel without Landlock servers were started all the same, with nothing but user ids between them and files that
are not theirs; `doctor` told those who asked. What is promised and missing is refused, until somebody accepts it."""
import ctypes
import json
import platform
import struct
import unittest

from program import Home, until

LANDLOCK_CREATE_RULESET, SECCOMP = 444, 317 if platform.machine() == "x86_64" else 277
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, MODE_FILTER = 22, 38, 2
LOAD, IF_EQUAL, RETURN, ALLOW, ENOSYS = 0x20, 0x15, 0x06, 0x7FFF0000, 0x00050000 | 38


def without(number):
    """For preexec_fn: this process and all that it starts get ENOSYS from a system call, as an old kernel answers."""
    code = ((LOAD, 0, 0, 0), (IF_EQUAL, 0, 1, number), (RETURN, 0, 0, ENOSYS), (RETURN, 0, 0, ALLOW))
    filters = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
    program = struct.pack("HxxxxxxP", len(code), ctypes.addressof(filters))
    libc = ctypes.CDLL(None, use_errno=True)

    def install():
        # Who may set no_new_privs aside has to: an ordinary user's uid maps are made by setuid programs.
        if libc.prctl(PR_SET_SECCOMP, MODE_FILTER, program, 0, 0) != 0:
            libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            if libc.prctl(PR_SET_SECCOMP, MODE_FILTER, program, 0, 0) != 0:
                raise OSError(ctypes.get_errno(), "seccomp")

    install.keep = filters
    return install


class Degraded(unittest.TestCase):
    def setUp(self):
        self.home = Home()
        self.addCleanup(self.home.close)

    def start(self, *options, lacking=LANDLOCK_CREATE_RULESET):
        command = ["run", "--engine", "native", "--direct", "--network", "none", *options, "--", "sh", "-c", "echo ran"]
        return self.home.run(*command, preexec_fn=without(lacking) if lacking else None)

    def test_the_same_start_where_nothing_is_missing(self):
        self.assertEqual(self.start(lacking=None).stdout, "ran\n")

    def test_without_landlock_nothing_is_started_until_that_is_accepted(self):
        refused = self.start()
        self.assertEqual((refused.returncode, refused.stdout), (125, ""), refused.stderr)
        for part in ("'sh' is not started", "has no Landlock", "accept it: `--accept-degraded landlock`"):
            self.assertIn(part, refused.stderr)
        self.assertEqual(self.start("--accept-degraded", "namespaces").stdout, "")
        self.assertEqual(self.start("--accept-degraded", "landlock").stdout, "ran\n")

    def test_without_system_call_filters_nobody_can_accept_anything(self):
        refused = self.start("--accept-degraded", "landlock", "--accept-degraded", "namespaces", lacking=SECCOMP)
        self.assertEqual((refused.returncode, refused.stdout), (125, ""), refused.stderr)
        self.assertIn("'sh' is not started: the kernel here has no system call filters", refused.stderr)

    def test_the_daemon_says_it_for_the_server_and_starts_the_one_that_accepts_it(self):
        server = {"command": "sh", "args": ["-c", "sleep 60"]}
        accepting = {**server, "box": {"accept_degraded": ["landlock"]}}
        self.home.config.write_text(json.dumps({"version": 1, "servers": {"strict": server, "accepting": accepting}}))
        self.home.serve(preexec_fn=without(LANDLOCK_CREATE_RULESET))
        until(self.home.answers, "the daemon answers")

        def of(name):
            return next(one for one in self.home.status()["servers"] if one["name"] == name)

        until(lambda: "accept it: `box.accept_degraded: [landlock]`" in json.dumps(of("strict")), "it is refused")
        told = "accepted (accept_degraded: landlock)"
        until(lambda: told in self.home.run("logs", "accepting").stdout, "the other is not")
        self.assertNotIn("is not started", json.dumps(of("accepting")))


if __name__ == "__main__":
    unittest.main()
