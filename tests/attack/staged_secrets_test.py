"""Nobody asked for a key to be copied, and the server reads it all the same: it lay in the folder. A server that is
started over such a folder says what it finds."""
import json
import os
import subprocess
import unittest

from engine import address
from program import Home, until

SECRETS = ("id_rsa", "conf/server.pem", ".npmrc", ".env.production", "github_token", "credentials.json")
TEXT = "PRIVATE-KEY-4711"
# An MCP server whose one tool tells its arguments, its working directory and every file below that.
SERVER = """
import json, os, sys
def found():
    return {"argv": sys.argv[1:], "files": {os.path.relpath(os.path.join(at, name)): open(os.path.join(at, name)).read()
                                            for at, _, names in os.walk(".") for name in names}}
for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked:
        continue
    answers = {"initialize": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                              "serverInfo": {"name": "x", "version": "1"}},
               "tools/list": {"tools": [{"name": "look", "inputSchema": {"type": "object"}}]}}
    result = answers.get(asked["method"]) or {"content": [{"type": "text", "text": json.dumps(found())}]}
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
"""


class StagedSecrets(unittest.TestCase):
    def setUp(self):
        self.home = Home()
        self.addCleanup(self.home.close)
        self.folder = self.home.root / "p"
        for name, text in {"server.py": SERVER, ".env": "HARMLESS=1", "data/a.txt": "a", "secrets/value": TEXT,
                           **{name: TEXT for name in SECRETS}}.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(text)
        subprocess.run(["chown", "-R", "1001:1001", self.folder], check=os.geteuid() == 0)

    def served(self, server):
        """What the tool of the server `one` finds."""
        (self.folder / "mcpbox.yaml").write_text(json.dumps(
            {"version": 1, "workspace": {"allowed_roots": ["."]}, "servers": {"one": server}}))
        self.home.config = self.folder / "mcpbox.yaml"
        self.home.serve(address(), stderr=subprocess.DEVNULL)
        self.addCleanup(self.home.run, "down", "--volumes", "-c", str(self.home.config), timeout=120)
        until(self.home.answers, "the daemon answers")
        self.home.run("ps", "--wait", "60", timeout=90)
        called = self.home.run("call", "one", "look", "--format", "json")
        self.assertEqual(called.returncode, 0, called.stdout + called.stderr + self.home.run("logs", "one").stdout)
        answer = json.loads(called.stdout)
        return json.loads(answer.get("result", answer)["content"][0]["text"])

    def explained(self):
        return self.home.run("explain", "-c", str(self.home.config), "one").stdout

    def test_what_the_configuration_names_as_a_secret_is_never_copied(self):
        found = self.served({"command": "python3", "args": ["server.py"], "cwd": ".",
                             "env": {"KEY": "${file:secrets/value}"}})
        self.assertIn("server.py", found["files"])
        self.assertNotIn("secrets/value", found["files"])
        self.assertNotIn(TEXT, found["files"].values())

    def test_keys_stay_behind_and_the_environment_file_of_the_project_does_not(self):
        found = self.served({"command": "python3", "args": ["server.py"], "cwd": "."})
        self.assertEqual([name for name in SECRETS if name in found["files"]], [])
        self.assertEqual(found["files"].get(".env"), "HARMLESS=1")
        log = self.home.run("logs", "one").stdout
        told = [line for line in log.splitlines() if ".mcpboxignore" in line and "id_rsa" in line]
        self.assertEqual(len(told), 1, log)
        self.assertTrue([line for line in log.splitlines() if ": .env;" in line], log)

    def test_a_working_directory_that_the_command_names_nothing_in_is_not_copied(self):
        found = self.served({"command": "python3", "args": ["-c", SERVER], "cwd": "."})
        self.assertEqual(found["files"], {})
        self.assertIn("nothing of the working directory", self.explained())

    def test_a_relative_argument_in_a_mounted_folder_means_the_mount(self):
        found = self.served({"command": "python3", "cwd": ".",
                             "args": ["server.py", "data", "--file=./data/a.txt", "--x"],
                             "box": {"mounts": ["data:rw"]}})
        self.assertEqual(found["argv"], [str(self.folder / "data"), f"--file={self.folder}/data/a.txt", "--x"])

    def test_run_leaves_keys_behind_and_says_how_to_take_one(self):
        words = ["run", "--engine", address(), "--direct", "--network", "none", "--stage", str(self.folder), "--",
                 "find", "."]
        ended = self.home.run(*words)
        self.assertEqual(ended.returncode, 0, ended.stderr)
        files = set(ended.stdout.split())
        self.assertEqual([name for name in SECRETS if f"./{name}" in files], [])
        self.assertIn("./.env", files)
        told = [line for line in ended.stderr.splitlines() if ".mcpboxignore" in line and "server.pem" in line]
        self.assertEqual(len(told), 1, ended.stderr)
        self.assertIn(".env", ended.stderr)
        (self.folder / ".mcpboxignore").write_text("!conf/server.pem\n")
        taken = self.home.run(*words)
        self.assertIn("./conf/server.pem", taken.stdout.split())
        self.assertNotIn("./id_rsa", taken.stdout.split())


if __name__ == "__main__":
    unittest.main()
