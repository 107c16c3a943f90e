"""A folder is one thing when its environment is named and another when it is installed: whoever has the first then runs
the second, with secrets of their own. The exchange happens at the very moment when the first reading is done."""
import json
import random
import subprocess
import threading
import time
import unittest

from attack import Attack
from engine import ENGINE  # and as an ordinary user
from program import until
from readings import exchange, on_each_reading
from repeats import Outcomes, repeats

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
    return {"command": "python", "args": ["server.py"]}, folder / "src" / "vmod.py", 'WHO = "%s"  # '


def node_project(folder):
    """Installed by npm with a package beside it, which reaches no registry."""
    (folder / "vmod").mkdir(parents=True)
    (folder / "package.json").write_text('{"name": "p", "version": "1.0.0", "dependencies": {"vmod": "file:./vmod"}}')
    (folder / "vmod" / "package.json").write_text('{"name": "vmod", "version": "1.0.0", "main": "index.js"}')
    (folder / "server.js").write_text(NODE)
    return {"command": "node", "args": ["server.js"]}, folder / "vmod" / "index.js", 'module.exports = "%s";  // '


class EnvPoison(Attack):
    def serve(self, servers, **options):
        folders = {name: str(self.home.root / name) for name in servers}
        self.configure({name: {**server, "cwd": folders[name], "box": {"host_path": folders[name]}}
                        for name, server in servers.items()}, workspace={"allowed_roots": [str(self.home.root)]})
        self.daemon = self.home.serve(engine=self.engine, **options)

    def said_by(self, name, states=("connected", "error")):
        """What the server says when it is settled; None where it did not start."""
        def settled():
            listed = self.home.run("ps", "--format", "json")
            if listed.returncode != 0:
                self.assertIsNone(self.daemon.poll(), "the daemon ended")
                return None  # a busy machine
            state = [server for server in json.loads(listed.stdout)["servers"] if server["name"] == name][0]["state"]
            return state if state in states else None
        state = until(settled, f"{name} is settled", 150)
        called = self.home.run("call", name, "who", "--format", "json")
        found = [word for word in (GOOD, BAD) if word in called.stdout]
        return found[0] if found else None, state + called.stderr

    def who(self, name, server):
        """What the server says, run by a daemon of its own."""
        self.serve({name: server})
        until(self.home.answers, "the daemon answers")
        said, log = self.said_by(name)
        self.home.run("down", "--engine", self.engine, timeout=120)
        return said, log + self.daemon.communicate(timeout=60)[1].decode()

    def poison(self, project):
        evil, target, text = project(self.home.root / "evil")
        target.write_text(text % GOOD)
        side = self.home.root / "side"
        side.write_text(text % BAD)
        seen = []

        def look():
            seen.append(target)
            if len(seen) == 1:
                side.rename(target)
        on_each_reading(target, look)
        _, log = self.who("evil", evil)
        self.assertTrue(seen, log)
        victim, target, text = project(self.home.root / "victim")
        target.write_text(text % GOOD)
        said, log = self.who("victim", victim)
        self.assertEqual(said, GOOD, log)

    def race(self, project):
        """Each round has content of its own, and the exchange comes at any moment: some time after some reading, or
        again and again."""
        evil, target, text = project(self.home.root / "evil")
        victim, of_victim, _ = project(self.home.root / "victim")
        side = self.home.root / "side"
        readings, outcomes = threading.Semaphore(0), Outcomes()
        on_each_reading(target, readings.release)

        def attack(after, over):
            for _ in range(after):
                while not readings.acquire(timeout=0.1):
                    if over.is_set():
                        return
            time.sleep(random.random() * random.choice((0, 0.001, 0.05)))
            while not over.is_set():
                exchange(side, target)
                if after:
                    return
                time.sleep(random.random() / 100)

        for number in range(repeats(1)):
            for file, word in ((target, GOOD), (of_victim, GOOD), (side, BAD)):
                file.write_text(text % word + str(number))
            while readings.acquire(blocking=False):
                pass
            over = threading.Event()
            attacker = threading.Thread(target=attack, args=((number + 1) % 4, over))
            attacker.start()
            if number == 0:
                self.serve({"evil": evil, "victim": victim}, stderr=subprocess.DEVNULL)  # both at once
                until(self.home.answers, "the daemon answers")
            else:
                self.home.run("restart", "evil", timeout=150)
            of_evil = self.said_by("evil", ("connected", "error", "reconnecting"))[0]
            over.set()
            attacker.join()
            if number > 0:
                self.home.run("restart", "victim", timeout=150)
            said, log = self.said_by("victim")
            outcomes[f"the victim runs {said}, the attacker {of_evil}"] += 1
            self.assertNotEqual(said, BAD, (number, log))
        outcomes.tell(f"{project.__name__}, exchanged while its environment is named and made")
        self.assertGreater(sum(count for name, count in outcomes.items() if f"victim runs {GOOD}" in name), 0, outcomes)

    def test_an_environment_that_npm_made_is_of_the_folder_that_it_is_named_after(self):
        self.poison(node_project)

    def test_nor_is_one_of_another_folder_whenever_npms_is_exchanged(self):
        self.race(node_project)

    if ENGINE != "native":  # uv is in the runner image, and need not be on this machine
        def test_an_environment_that_uv_made_is_of_the_folder_that_it_is_named_after(self):
            self.poison(python_project)

        def test_nor_is_one_of_another_folder_whenever_uvs_is_exchanged(self):
            self.race(python_project)


if __name__ == "__main__":
    unittest.main()
