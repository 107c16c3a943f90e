"""A folder of credentials has another name, by a bind mount: it is staged or mounted under that."""
import os
import subprocess
import sys
import unittest

from engine import address
from program import Home

INSIDE = "MCPBOX_ATTACK_INSIDE"


@unittest.skipUnless(os.geteuid() == 0, "makes bind mounts")
class Alias(unittest.TestCase):
    def setUp(self):
        self.home = Home()
        self.addCleanup(self.home.close)
        self.user = self.home.root / "user"
        self.project = self.user / "project"
        (self.user / ".ssh").mkdir(parents=True)
        (self.user / ".ssh" / "id_ed25519").write_text("THE KEY")
        (self.project / "keys").mkdir(parents=True)
        (self.project / "server.py").write_text("")
        subprocess.run(["mount", "--bind", self.user / ".ssh", self.project / "keys"], check=True)
        self.addCleanup(subprocess.run, ["umount", self.project / "keys"], check=True)
        self.home.env["HOME"] = str(self.user)

    def explain(self, *args):
        return self.home.run("explain", "--engine", address(), *args, "--", "python3", "-c", "pass")

    def test_it_is_neither_staged_nor_mounted(self):
        for option in ("--stage", "--mount"):
            for folder in (self.project / "keys", self.user / ".ssh"):
                with self.subTest(option=option, folder=folder.name):
                    ended = self.explain(option, str(folder))
                    self.assertIn("credentials", ended.stdout + ended.stderr)
                    self.assertNotRegex(ended.stdout, r"(?m)^(copies|mounts) .*(keys|\.ssh)")

    def test_nor_is_a_folder_that_has_it_in_it(self):
        for option in ("--stage", "--mount"):
            ended = self.explain(option, str(self.project))
            self.assertIn(f"contains {self.user}/.ssh", ended.stdout + ended.stderr)

    def test_nor_is_a_folder_with_a_whole_home_or_a_part_of_the_system_in_it(self):
        for number, place in enumerate((self.user, "/etc")):
            outer = self.user / f"outer{number}"
            (outer / "in").mkdir(parents=True)
            subprocess.run(["mount", "--bind", place, outer / "in"], check=True)
            self.addCleanup(subprocess.run, ["umount", outer / "in"], check=True)
            with self.subTest(place):
                ended = self.explain("--mount", str(outer))
                self.assertIn("this folder contains ", ended.stdout + ended.stderr)


if __name__ == "__main__":
    # A mount namespace of its own: what a test that is killed leaves mounted is gone with it.
    if os.geteuid() == 0 and INSIDE not in os.environ:
        again = ["unshare", "-m", "--propagation", "private", sys.executable, "-B", *sys.argv]
        os.execvpe(again[0], again, {**os.environ, INSIDE: "1"})
    unittest.main()
