"""A manifest that is a link out of its folder: the file that it leads to was read as the operator, went into the
installation and stood in its messages. And a link in a project that leads to another folder: that one was staged."""
import json
import unittest

from engine import address
from program import Home

SECRET = "hunter2-4711"
PYPROJECT = '[project]\nname = "x"\nversion = "1"\ndependencies = ["six==1.16.0"]\n'


class ManifestLinks(unittest.TestCase):
    def setUp(self):
        self.home = Home()
        self.addCleanup(self.home.close)
        self.project, self.vault = self.home.root / "p", self.home.root / "vault"
        for folder in (self.project, self.vault):
            folder.mkdir()
        (self.project / "server.py").write_text("")
        (self.project / "server.js").write_text("")
        # As a manifest it can be understood by whoever reads it.
        (self.vault / "key").write_text(json.dumps({"dependencies": {SECRET: "1"}}))
        (self.vault / "private.py").write_text(f"print('{SECRET}')\n")

    def explain(self, command, *args, **server):
        self.home.config.write_text(json.dumps({
            "version": 1, "workspace": {"allowed_roots": [str(self.project), str(self.vault)]},
            "servers": {"one": {"command": command, "args": [str(a) for a in args], **server}}}))
        ended = self.home.run("explain", "one", "-c", str(self.home.config), "--format", "json")
        self.assertNotIn(SECRET, ended.stdout + ended.stderr)
        return json.loads(ended.stdout)

    def assert_refused(self, plan, link, target):
        self.assertEqual([r["path"] for r in plan["refused"]], [str(link)], plan)
        self.assertIn(str(target), plan["refused"][0]["reason"])
        self.assertIn("box.host_path", plan["refused"][0]["reason"])

    def test_no_manifest_is_read_through_a_link_out_of_its_folder(self):
        for name, command, script in (("package.json", "node", "server.js"), ("pyproject.toml", "python", "server.py"),
                                      ("package-lock.json", "node", "server.js"), ("uv.lock", "python", "server.py")):
            with self.subTest(name):
                (self.project / "pyproject.toml").write_text(PYPROJECT)
                (self.project / "package.json").write_text('{"dependencies": {"x": "1"}}')
                link = self.project / name
                link.unlink(missing_ok=True)
                link.symlink_to(self.vault / "key")
                self.assert_refused(self.explain(command, self.project / script), link, self.vault / "key")
                link.unlink()

    def test_no_link_in_a_project_chooses_another_folder(self):
        (self.project / "requirements.txt").write_text("")
        (self.project / "tool.py").symlink_to(self.vault / "private.py")
        plan = self.explain("python", self.project / "tool.py")
        self.assertEqual(plan["roots"], [])
        self.assert_refused(plan, self.project / "tool.py", self.vault / "private.py")

    def test_nothing_of_the_target_reaches_an_installation(self):
        (self.project / "pyproject.toml").write_text(PYPROJECT)
        (self.project / "uv.lock").symlink_to(self.vault / "key")
        engine = address()
        self.addCleanup(lambda: self.home.run("down", "--volumes", "--engine", engine, timeout=120))
        ended = self.home.run("run", "--engine", engine, "--stage", str(self.project), "--",
                              "python", str(self.project / "server.py"), timeout=120)
        self.assertNotEqual(ended.returncode, 0)
        self.assertNotIn(SECRET, ended.stdout + ended.stderr)
        self.assertIn(f"{self.project}/uv.lock: ", ended.stderr)
        self.assertIn("is not followed", ended.stderr)


if __name__ == "__main__":
    unittest.main()
