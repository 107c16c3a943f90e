"""A folder of credentials, or a part of one, has another name, by a bind mount: it is staged or mounted under that."""
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


@unittest.skipUnless(os.geteuid() == 0, "makes bind mounts")
class AliasOfAPart(unittest.TestCase):
    """What lies in a denied place and is bound elsewhere has no identity that anybody knows."""

    def setUp(self):
        self.home = Home()
        self.addCleanup(self.home.close)
        self.user = self.home.root / "user"
        self.ssh = self.user / ".ssh"
        (self.ssh / "keys" / "work").mkdir(parents=True)
        for key in (self.ssh / "id_ed25519", self.ssh / "keys" / "key", self.ssh / "keys" / "work" / "key"):
            key.write_text("THE KEY")
        self.project = self.user / "project"
        self.project.mkdir()
        (self.project / "server.py").write_text("")
        self.home.env["HOME"] = str(self.user)

    def mount(self, *words):
        subprocess.run(["mount", *words], check=True)
        self.addCleanup(subprocess.run, ["umount", words[-1]], check=True)

    def bind(self, what, name="k"):
        at = self.project / name
        at.mkdir(parents=True) if what.is_dir() else at.touch()
        self.mount("--bind", what, at)
        return at

    def assert_refused(self, folder, why):
        """Neither staged nor mounted, as `explain` says it."""
        for option in ("--stage", "--mount"):
            with self.subTest(option=option, folder=str(folder)):
                ended = self.home.run("explain", "--engine", address(), option, str(folder), "--",
                                      "python3", "-c", "pass")
                self.assertIn(why, ended.stdout + ended.stderr)
                self.assertIn("never given to a sandbox", ended.stdout + ended.stderr)
                self.assertNotRegex(ended.stdout, r"(?m)^(copies|mounts) ")

    def assert_given(self, folder):
        for option in ("--stage", "--mount"):
            ended = self.home.run("explain", "--engine", address(), option, str(folder), "--", "python3", "-c", "pass")
            self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)
            self.assertNotIn("never given", ended.stdout + ended.stderr)

    def test_a_folder_below_it_is_not_shown_by_a_run(self):
        at = self.bind(self.ssh / "keys")
        for words in (("--mount", self.project), ("--mount", at), ("--mount", at / "work"), ("--stage", at),
                      ("--stage", self.project)):
            with self.subTest(words):
                ended = self.home.run("run", "--engine", address(), "--direct", "--network", "none",
                                      *map(str, words), "--", "sh", "-c", f"cat /*/*/key {at}/key {at}/work/key",
                                      timeout=120)
                self.assertNotIn("THE KEY", ended.stdout + ended.stderr)
                self.assertNotEqual(ended.returncode, 0)
                self.assertIn(f"{self.ssh}", ended.stderr)

    def test_nor_is_it_given_where_it_is_the_working_directory(self):
        at = self.bind(self.ssh / "keys")
        (at / "server.py").write_text("print(open('key').read())")
        ended = self.home.run("run", "--engine", address(), "--direct", "--network", "none", "--cwd", str(at), "--",
                              "python3", "server.py", timeout=120)
        self.assertNotIn("THE KEY", ended.stdout + ended.stderr)
        self.assertNotEqual(ended.returncode, 0)

    def test_nor_with_a_name_that_the_kernel_spells_in_octal(self):
        odd = self.ssh / "my\tkeys \\ here"
        odd.mkdir()
        at = self.bind(odd, "with blank")
        self.assert_refused(self.project, f"contains {self.ssh} (mounted at {self.project}/with blank)")
        self.assert_refused(at, f"this lies in {self.ssh}, a place of credentials")

    def test_nor_is_a_single_file_of_it_even_when_that_has_been_removed(self):
        self.bind(self.ssh / "id_ed25519", "notes.txt")
        self.assert_refused(self.project, f"contains {self.ssh} (mounted at {self.project}/notes.txt)")
        (self.ssh / "id_ed25519").unlink()
        self.assertEqual((self.project / "notes.txt").read_text(), "THE KEY")
        self.assert_refused(self.project, f"contains {self.ssh} (mounted at {self.project}/notes.txt)")

    def test_nor_what_has_a_file_system_of_its_own_in_it(self):
        vault = self.ssh / "vault"
        vault.mkdir()
        self.mount("-t", "tmpfs", "none", vault)
        (vault / "deep").mkdir()
        at = self.bind(vault / "deep")
        self.assert_refused(self.project, f"contains {vault} (mounted at {at})")
        self.assert_refused(at, f"this lies in {vault}, a place of credentials")

    def test_nor_a_folder_of_another_file_system_that_is_mounted_in_it(self):
        disk = self.home.root / "disk"
        disk.mkdir()
        self.mount("-t", "tmpfs", "none", disk)
        (disk / "keys" / "deep").mkdir(parents=True)
        (self.ssh / "more").mkdir()
        self.mount("--bind", disk / "keys", self.ssh / "more")
        at = self.bind(self.ssh / "more" / "deep")
        self.assert_refused(self.project, f"contains {self.ssh}/more (mounted at {at})")
        self.assert_refused(at, f"this lies in {self.ssh}/more, a place of credentials")
        self.assert_refused(disk / "keys", f"this lies in {self.ssh}/more, a place of credentials")

    def test_nor_the_place_that_it_was_bound_from(self):
        disk = self.home.root / "disk"
        disk.mkdir()
        self.mount("-t", "tmpfs", "none", disk)
        for name in ("aws/sso", "free"):
            (disk / name).mkdir(parents=True)
        (self.user / ".aws").mkdir()
        self.mount("--bind", disk / "aws", self.user / ".aws")
        self.assert_refused(disk, f"contains {self.user}/.aws")
        self.assert_refused(disk / "aws" / "sso", f"this lies in {self.user}/.aws")
        self.assert_given(disk / "free")

    def test_nor_a_folder_of_somebody_that_is_known_by_its_name_alone(self):
        other = self.home.root / "other" / ".ssh" / "keys"
        other.mkdir(parents=True)
        at = self.bind(other)
        self.assert_refused(at, f"{other.parent} of its file system, which holds credentials")
        self.assert_refused(self.project, f"contains {other.parent} (mounted at {at})")

    def test_nor_a_folder_of_the_control_socket_or_of_the_state(self):
        for number, name in enumerate(("state", "run")):
            place = self.home.root / name
            (place / "in").mkdir()
            at = self.bind(place / "in", f"k{number}")
            self.assert_refused(at, f"this lies in {place}, a place that mcpbox or the container engine needs")
            self.assert_refused(self.project, f"contains {self.home.root}/")

    def test_what_is_only_called_alike_or_lies_beside_it_is_given(self):
        for name in (".ssh-notes", ".sshkeys"):
            (self.user / name / "in").mkdir(parents=True)
            self.bind(self.user / name / "in", name.strip("."))
        self.assert_given(self.project)
        self.assert_given(self.project / "ssh-notes")


if __name__ == "__main__":
    # A mount namespace of its own: what a test that is killed leaves mounted is gone with it.
    if os.geteuid() == 0 and INSIDE not in os.environ:
        again = ["unshare", "-m", "--propagation", "private", sys.executable, "-B", *sys.argv]
        os.execvpe(again[0], again, {**os.environ, INSIDE: "1"})
    unittest.main()
