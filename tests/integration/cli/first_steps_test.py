"""What somebody meets who sets mcpbox up for the first time: each message says what is wrong and what to do."""
import json
import unittest

from program import EmptyEngine, Home, until

SERVER = r'''
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked:
        continue
    result = {"tools": [{"name": "t", "inputSchema": {"type": "object"}}]}
    if asked["method"] == "initialize":
        result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                  "serverInfo": {"name": "s", "version": "1"}}
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
'''


class Listing(EmptyEngine):
    """A daemon with these servers."""

    class Handler(EmptyEngine.Handler):
        def do_GET(self):
            body = json.dumps({"servers": self.server.servers, "engine": {}}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def __init__(self, path, servers):
        self.servers = [{"name": name, "restarts": 0, "tools": 1, "uptime_ms": 0, "server": {}, **server}
                        for name, server in servers.items()]
        super().__init__(path)


class FirstSteps(unittest.TestCase):
    def setUp(self):
        self.home = Home()
        self.addCleanup(self.home.close)

    def configure(self, text):
        self.home.config.write_text("version: 1\n" + text)

    def check(self):
        return self.home.run("check", str(self.home.config))

    def test_check_tells_of_a_script_that_is_not_there(self):
        folder = self.home.root / "project"
        folder.mkdir()
        (folder / "there.py").write_text("")
        self.configure("servers:\n"
                       "  a: {command: python3, args: [missing.py]}\n"
                       f"  b: {{command: python3, args: [{folder}/missing.py]}}\n"
                       f"  c: {{command: node, args: [missing.js], cwd: {folder}}}\n"
                       f"  d: {{command: python3, args: [there.py], cwd: {folder}}}\n"
                       f"  e: {{command: python3, args: [{folder}/there.py]}}\n"
                       "  f: {command: python3, args: [-m, module]}\n"
                       f"workspace: {{allowed_roots: [{folder}]}}\n")
        ended = self.check()
        self.assertEqual(ended.returncode, 0, ended.stderr)
        said = ended.stderr.splitlines()
        self.assertEqual(len(said), 3, said)
        self.assertIn("servers.a.args: 'missing.py' is looked for in the server's own folder, which is empty", said[0])
        self.assertIn(f"servers.b.args: there is no '{folder}/missing.py' on this machine", said[1])
        self.assertIn(f"servers.c.args: there is no 'missing.js' in {folder}; write where it is", said[2])

    def test_check_and_serve_name_the_missing_folder_of_the_socket(self):
        missing = self.home.root / "missing"
        self.configure(f"daemon: {{socket: {missing}/control.sock}}\nservers: {{}}\n")
        for verb in ("check", "serve"):
            args = ("check", str(self.home.config)) if verb == "check" else (
                "serve", "--engine", "native", "-c", str(self.home.config))
            with self.subTest(verb=verb):
                ended = self.home.run(*args)
                self.assertEqual(ended.returncode, 2, ended.stderr)
                self.assertIn(f"the folder {missing} of the control socket does not exist: make it "
                              f"(`mkdir -p -m 700 {missing}`), or name another place", ended.stderr)
        missing.write_text("")
        self.assertIn(f"{missing} of the control socket {missing}/control.sock is no folder", self.check().stderr)

    def test_a_state_directory_where_none_can_be_is_told_as_that(self):
        self.configure("daemon: {state_dir: /proc/nope}\nservers: {}\n")
        ended = self.home.run("serve", "--engine", "native", "-c", str(self.home.config))
        self.assertEqual((ended.returncode, ended.stderr),
                         (1, "mcpbox: the state directory: cannot make /proc/nope: nobody can make folders in /proc; "
                             "name another one in daemon.state_dir\n"))

    def test_ps_tells_old_reasons_from_new_ones_and_how_long_a_server_is_up(self):
        daemon = Listing(self.home.socket, {
            "new": {"state": "connected", "phase": ""},
            "again": {"state": "connecting", "phase": "mcp_init", "error": "it broke"},
            "ended": {"state": "stopped", "phase": "runtime", "error": "it broke"},
            "broken": {"state": "error", "phase": "runtime", "error": "it broke", "uptime_ms": 5000}})
        with daemon:
            rows = {row.split()[0]: row for row in self.home.run("ps").stdout.splitlines()}
        self.assertRegex(rows["new"], r"^new +connected +1 +0 +0 ms")
        self.assertTrue(rows["again"].endswith("  mcp_init, after: it broke"), rows)
        self.assertTrue(rows["ended"].endswith("  after: it broke"), rows)
        self.assertNotIn("runtime", rows["ended"])
        self.assertTrue(rows["broken"].endswith("  runtime: it broke"), rows)
        self.assertNotIn("5.0 s", rows["broken"])

    def test_down_says_what_went_with_the_daemon(self):
        self.configure(f"servers:\n  one: {json.dumps({'command': 'python3', 'args': ['-c', SERVER]})}\n")
        with open(self.home.root / "said", "wb") as said:
            self.home.serve(stderr=said)
        until(lambda: self.home.run("ps", "--wait", "60").returncode == 0, "the server is connected", 60)
        down = self.home.run("down")
        self.assertIn("the daemon ended, and 1 sandbox of its servers with it; native: 0 other sandboxes and 0 volumes "
                      "removed", down.stdout)
        self.assertIn("one: connected: 1 tool\n", (self.home.root / "said").read_text())

    def test_each_verb_has_an_example(self):
        verbs = ["run", "serve", "ps", "tools", "call", "logs", "restart", "stop", "pull", "down", "check", "explain",
                 "doctor", "version", "image build", "image list", "image pull", "egress tail", "egress suggest",
                 "env list", "env prune", "env refresh"]
        listed = self.home.run("--help").stdout
        for verb in verbs:
            with self.subTest(verb=verb):
                self.assertIn(verb.split()[0], listed)
                told = self.home.run(*verb.split(), "--help").stdout
                self.assertIn(f"  mcpbox {verb}", told[told.index("\nExamples:\n"):])


if __name__ == "__main__":
    unittest.main()
