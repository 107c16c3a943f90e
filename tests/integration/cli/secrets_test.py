"""Secrets that are read at each start of their server: a rotated key needs a restart of that server and nothing else;
old and new ones stay hidden."""
import json
import os
import subprocess
import unittest

from program import MCPBOX, Home, until

SERVER = r'''
import json, os, sys
print("my keys are", os.environ["FILE_KEY"], os.environ["HELPED"], *sys.argv[1:], file=sys.stderr, flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked:
        continue
    result = {"tools": [{"name": "keys", "inputSchema": {"type": "object"}}]}
    if asked["method"] == "initialize":
        result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                  "serverInfo": {"name": "keys", "version": "1"}}
    elif asked["method"] == "tools/call":
        keys = [os.environ["FILE_KEY"], os.environ["HELPED"], *sys.argv[1:]]
        result = {"content": [{"type": "text", "text": json.dumps(keys)}]}
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
'''
HELPER = """#!/bin/sh
read -r key
[ "$1" = get ] && [ -e {store}/"$key" ] || { echo "credentials not found in native keychain"; exit 1; }
printf '{"ServerURL":"%s","Username":"u","Secret":"%s"}' "$key" "$(cat {store}/"$key")"
"""


class Secrets(unittest.TestCase):
    def setUp(self):
        self.home = Home()
        self.addCleanup(self.home.close)
        root = self.home.root
        for name in ("bin", "store"):
            (root / name).mkdir()
        (root / "bin" / "docker-credential-shelf").write_text(HELPER.replace("{store}", str(root / "store")))
        (root / "bin" / "docker-credential-shelf").chmod(0o755)
        self.home.env["PATH"] = f"{root / 'bin'}:{os.environ['PATH']}"
        self.put("file-key-1", "helped-key-1")
        server = {"command": "python3", "args": ["-c", SERVER, "${helper:shelf:api}"],
                  "env": {"FILE_KEY": "${file:key}", "HELPED": "${helper:shelf:api}"}}
        servers = "".join(f"  {name}: {json.dumps(server)}\n" for name in ("one", "two"))
        self.home.config.write_text(f"version: 1\nservers:\n{servers}")

    def put(self, file, helped):
        (self.home.root / "key").write_text(file + "\n")
        (self.home.root / "store" / "api").write_text(helped)

    def serve(self):
        with open(self.home.root / "said", "wb") as said:
            self.home.serve(stderr=said)
        ended = self.home.run("ps", "--wait", "60", timeout=120)
        self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)

    def keys(self, server):
        ended = self.home.run("call", server, "keys")
        self.assertEqual(ended.returncode, 0, ended.stderr)
        return json.loads(ended.stdout)

    def test_a_rotated_key_needs_a_restart_of_its_server_only(self):
        self.serve()
        old, new = ["file-key-1", "helped-key-1", "helped-key-1"], ["file-key-2", "helped-key-2", "helped-key-2"]
        self.assertEqual(self.keys("one"), old)
        self.put("file-key-2", "helped-key-2")
        self.assertEqual(self.keys("one"), old)
        self.assertEqual(self.home.run("restart", "one").returncode, 0)
        self.assertEqual(self.keys("one"), new)
        self.assertEqual(self.keys("two"), old)
        self.assertEqual([server["restarts"] for server in self.home.status()["servers"]], [1, 0])
        logs = [self.home.run("logs", name).stdout for name in ("one", "two")]
        said = "".join([(self.home.root / "said").read_text(), *logs])
        self.assertEqual(said.count("my keys are *** *** ***"), 3, said)
        for key in {*old, *new}:
            self.assertNotIn(key, said)

    def test_a_key_that_is_not_there_ends_the_start_at_once(self):
        self.serve()
        (self.home.root / "store" / "api").unlink()
        ended = self.home.run("restart", "one")
        self.assertEqual(ended.returncode, 5)
        one = self.home.status()["servers"][0]
        self.assertEqual(one["state"], "error")
        self.assertIn("'${helper:shelf:api}': docker-credential-shelf ended with exit code 1: credentials not found in "
                      "native keychain", one["error"])
        said = self.home.run("logs", "one").stdout
        self.assertEqual(len([line for line in said.splitlines() if "credentials not found" in line]), 1, said)

    def test_a_file_that_is_gone_is_named_and_waited_for(self):
        self.serve()
        (self.home.root / "key").unlink()
        restarting = subprocess.Popen([MCPBOX, "restart", "one"], env=self.home.env, stdout=subprocess.PIPE, text=True)
        said = until(lambda: self.home.status()["servers"][0]["error"], "the server tells what it misses")
        self.assertIn("servers.one.env.FILE_KEY: cannot read ", said)
        self.assertEqual(self.keys("two")[0], "file-key-1")
        self.put("file-key-3", "helped-key-3")
        self.assertEqual(restarting.communicate(timeout=60)[0], "one: connected\n")
        self.assertEqual(self.keys("one"), ["file-key-3", "helped-key-3", "helped-key-3"])

    def test_check_runs_no_helper_but_misses_it(self):
        (self.home.root / "store" / "api").unlink()
        self.assertEqual(self.home.run("check", str(self.home.config)).returncode, 0)
        explained = self.home.run("explain", "-c", str(self.home.config), "one")
        self.assertEqual(explained.returncode, 0, explained.stderr)
        (self.home.root / "bin" / "docker-credential-shelf").unlink()
        ended = self.home.run("check", str(self.home.config))
        self.assertEqual(ended.returncode, 2)
        self.assertIn("there is no program docker-credential-shelf in PATH", ended.stderr)


if __name__ == "__main__":
    unittest.main()
