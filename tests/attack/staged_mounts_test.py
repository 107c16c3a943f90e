"""A folder that is mounted in one that is copied: the mount is what the server sees there, nothing of it is copied, and
a copy that fails takes nothing of it away."""
import os
import subprocess
import unittest

from engine import address
from program import Home

OWNER = 1001


@unittest.skipUnless(os.geteuid() == 0, "makes folders of another user")
class StagedMounts(unittest.TestCase):
    def setUp(self):
        self.home = Home()
        self.addCleanup(self.home.close)
        self.project = self.home.root / "p"
        self.data, self.deep = self.project / "data", self.project / "a" / "b" / "deep"
        for file, text in ((self.project / "main.py", "code"), (self.data / "file", "mine"),
                           (self.deep / "file", "deep"), (self.project / "a" / "x", "x"),
                           (self.project / "a" / "b" / "y", "y")):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        self.own()

    def own(self):
        subprocess.run(["chown", "-R", f"{OWNER}:{OWNER}", self.project], check=True)

    def run_in(self, script, *options):
        return self.home.run("run", "--engine", address(), "--direct", "--network", "none", "-v",
                             "--stage", str(self.project), "--mount", f"{self.data}:rw", "--mount", str(self.deep),
                             *options, "--", "sh", "-c", script, timeout=120)

    def test_the_mount_is_there_and_the_rest_is_a_copy(self):
        seen = self.run_in("find . -type f | sort; cat data/file a/b/deep/file; echo new > data/new; "
                           "echo new > a/b/new; echo changed > main.py; echo no > a/b/deep/no || echo read-only")
        self.assertEqual(seen.stdout, "./a/b/deep/file\n./a/b/y\n./a/x\n./data/file\n./main.py\nminedeepread-only\n",
                         seen.stderr)
        self.assertEqual(sorted(path.name for path in self.data.iterdir()), ["file", "new"])
        self.assertEqual((self.project / "main.py").read_text(), "code")
        self.assertFalse((self.deep.parent / "new").exists())
        self.assertIn("data: a folder that is mounted there covers it", seen.stderr)

    def test_a_copy_that_fails_leaves_what_is_mounted(self):
        (self.project / "z").touch()
        os.truncate(self.project / "z", 600 << 20)
        self.own()
        seen = self.run_in("true")
        self.assertNotEqual(seen.returncode, 0)
        self.assertIn("z' has 600 MiB", seen.stderr)
        self.assertEqual(((self.data / "file").read_text(), (self.deep / "file").read_text()), ("mine", "deep"))


if __name__ == "__main__":
    unittest.main()
