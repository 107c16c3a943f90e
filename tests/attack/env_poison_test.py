"""A folder is one thing when its environment is named and another when it is installed: whoever has the first then runs
the second, with secrets of their own. The exchange happens at the very moment when the first reading is done."""
import ctypes
import json
import os
import struct
import threading
import unittest

from engine import address, ENGINE
from program import Home

CLOSE_NOWRITE = 0x10
GOOD = "genuine"
BAD = "POISONED"
PYTHON = '''
import json, sys
sys.path[:] = [p for p in sys.path if p and not p.endswith("/src")]
import vmod
for line in sys.stdin:
    m = json.loads(line)
    if "id" not in m: continue
    r = {}
    if m["method"] == "initialize":
        r = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "v", "version": ""}}
    if m["method"] == "tools/list": r = {"tools": [{"name": "who", "inputSchema": {"type": "object"}}]}
    if m["method"] == "tools/call": r = {"content": [{"type": "text", "text": vmod.WHO}]}
    print(json.dumps({"jsonrpc": "2.0", "id": m["id"], "result": r}), flush=True)
'''
BACKEND = '''
import os, zipfile
def get_requires_for_build_wheel(config=None): return []
def build_wheel(directory, config=None, metadata=None):
    name = "vmod-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as wheel:
        wheel.writestr("vmod.py", open("src/vmod.py").read())
        wheel.writestr("vmod-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: vmod\\nVersion: 1.0\\n")
        wheel.writestr("vmod-1.0.dist-info/WHEEL",
                       "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("vmod-1.0.dist-info/RECORD", "")
    return name
'''
NODE = '''
const who = require("vmod");
require("readline").createInterface({input: process.stdin}).on("line", line => {
  const m = JSON.parse(line);
  if (m.id === undefined) return;
  let result = {};
  if (m.method == "initialize")
    result = {protocolVersion: "2025-06-18", capabilities: {tools: {}}, serverInfo: {name: "v", version: "1"}};
  if (m.method == "tools/list") result = {tools: [{name: "who", inputSchema: {type: "object"}}]};
  if (m.method == "tools/call") result = {content: [{type: "text", text: who}]};
  console.log(JSON.stringify({jsonrpc: "2.0", id: m.id, result}));
});
'''


def python_project(folder):
    """Built from its folder by uv: the wheel has what src/vmod.py says."""
    (folder / "src").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "vmod"\nversion = "1.0"\n')
    (folder / "backend.py").write_text(BACKEND)
    (folder / "server.py").write_text(PYTHON)
    return {"command": "python", "args": ["server.py"]}, folder / "src" / "vmod.py", 'WHO = "%s"\n'


def node_project(folder):
    """Installed by npm with a package beside it, which reaches no registry."""
    (folder / "vmod").mkdir(parents=True)
    (folder / "package.json").write_text('{"name": "p", "version": "1.0.0", "dependencies": {"vmod": "file:./vmod"}}')
    (folder / "vmod" / "package.json").write_text('{"name": "vmod", "version": "1.0.0", "main": "index.js"}')
    (folder / "server.js").write_text(NODE)
    return {"command": "node", "args": ["server.js"]}, folder / "vmod" / "index.js", 'module.exports = "%s";\n'


class EnvPoison(unittest.TestCase):
    def setUp(self):
        self.home = Home()
        self.addCleanup(self.home.close)
        self.engine = address()
        self.addCleanup(lambda: self.home.run("down", "--volumes", "--engine", self.engine, timeout=120))

    def who(self, name, server):
        """What the server says, run by a daemon of its own; None where it does not start."""
        folder = str(self.home.root / name)
        self.home.config.write_text(json.dumps({
            "version": 1, "workspace": {"allowed_roots": [str(self.home.root)]},
            "servers": {name: {**server, "cwd": folder, "box": {"host_path": folder}}}}))
        daemon = self.home.serve(engine=self.engine)
        waited = self.home.run("ps", "--wait", "120", timeout=150)
        called = self.home.run("call", name, "who", "--format", "json")
        self.home.run("down", "--engine", self.engine, timeout=120)
        log = daemon.communicate(timeout=60)[1].decode()
        found = [word for word in (GOOD, BAD) if word in called.stdout]
        return found[0] if found else None, waited.stdout + called.stderr + log

    def exchange(self, target, text, at):
        """Puts `text` in place of the file when it was read `at` times."""
        libc = ctypes.CDLL(None, use_errno=True)
        events = libc.inotify_init1(os.O_CLOEXEC)
        libc.inotify_add_watch(events, os.fsencode(target.parent), CLOSE_NOWRITE)
        side = self.home.root / f"side-{target.name}"
        side.write_text(text)
        seen = []

        def watch():
            while True:
                buffer, offset = os.read(events, 65536), 0
                while offset < len(buffer):
                    length = struct.unpack_from("iIII", buffer, offset)[3]
                    name = buffer[offset + 16:offset + 16 + length].rstrip(b"\0").decode()
                    offset += 16 + length
                    if name == target.name:
                        seen.append(name)
                        if len(seen) == at:
                            side.rename(target)
        threading.Thread(target=watch, daemon=True).start()
        return seen

    def poison(self, project):
        evil, target, text = project(self.home.root / "evil")
        target.write_text(text % GOOD)
        seen = self.exchange(target, text % BAD, at=1)
        _, log = self.who("evil", evil)
        self.assertTrue(seen, log)
        victim, target, text = project(self.home.root / "victim")
        target.write_text(text % GOOD)
        said, log = self.who("victim", victim)
        self.assertEqual(said, GOOD, log)

    def test_an_environment_that_npm_made_is_of_the_folder_that_it_is_named_after(self):
        self.poison(node_project)

    if ENGINE != "native":  # uv is in the runner image, and need not be on this machine
        def test_an_environment_that_uv_made_is_of_the_folder_that_it_is_named_after(self):
            self.poison(python_project)


if __name__ == "__main__":
    unittest.main()
