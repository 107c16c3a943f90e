"""The name of an environment left out from where its packages came and which of its programs was meant: whoever
installed first, from a registry of theirs, chose for everybody who asked for the same."""
import json
import unittest

from attack import Attack


class EnvOrigin(Attack):
    def setUp(self):
        super().setUp()
        self.project = self.home.root / "p"
        (self.project / "tools").mkdir(parents=True)
        # What is beside the project reaches no registry.
        (self.project / "package.json").write_text('{"name": "p", "dependencies": {"tools": "file:./tools"}}')
        (self.project / "tools" / "package.json").write_text(
            '{"name": "tools", "version": "1.0.0", "bin": {"one": "one.js", "two": "two.js"}}')
        for name in ("one", "two"):
            (self.project / "tools" / f"{name}.js").write_text(f"#!/usr/bin/env node\nconsole.log('this is {name}')\n")
        (self.project / "server.js").write_text("console.log('this is the server')\n")

    def run_server(self, *words, **env):
        ended = self.home.run("run", "--engine", self.engine, "--direct", "--stage", str(self.project), "--", *words,
                              env={**self.home.env, **env}, timeout=120)
        self.assertEqual(ended.returncode, 0, ended.stderr)
        return ended.stdout

    def environments(self):
        listed = self.home.run("env", "list", "--engine", self.engine, "--format", "json", timeout=120)
        listed = json.loads(listed.stdout)
        return {e["hash"] for e in (listed["environments"] if isinstance(listed, dict) else listed)}

    def test_each_registry_has_environments_of_its_own(self):
        server = ("node", str(self.project / "server.js"))
        for number, registry in enumerate(("https://a.example/", "https://b.example/"), 1):
            for _ in range(2):
                self.run_server(*server, npm_config_registry=registry)
                self.assertEqual(len(self.environments()), number)
        # Another password is no other registry.
        self.run_server(*server, npm_config_registry="https://me:secret@b.example/")
        self.assertEqual(len(self.environments()), 2)

    def test_each_program_of_a_package_is_the_one_that_was_asked_for(self):
        for name in ("one", "two", "one"):
            said = self.run_server("npx", "-y", "-p", f"file:{self.project}/tools", name)
            self.assertEqual(said.strip(), f"this is {name}")


if __name__ == "__main__":
    unittest.main()
