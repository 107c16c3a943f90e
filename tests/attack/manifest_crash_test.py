"""Servers end themselves, so that the daemon plans them again and again, and exchange what their folders say of them
meanwhile: a manifest that was there at the first reading and not at the second ended the daemon with all its servers.
It lives, whatever it reads, its neighbours answer, and a folder that is whole again starts again."""
import os
import random
import socket
import threading
import unittest

from attack import Attack, SERVER, SOURCE  # and as an ordinary user
from readings import exchange, on_each_reading, Opening
from repeats import Outcomes, repeats

SECRET = "hunter2-4711"
PYTHON = """
import os, threading
threading.Timer(0.1, os._exit, [1]).start()
""" + SOURCE
NODE = """
setTimeout(() => process.exit(1), 100);
require("readline").createInterface({input: process.stdin}).on("line", line => {
  const m = JSON.parse(line);
  if (m.id === undefined) return;
  const result = m.method == "initialize" ? {protocolVersion: "2025-06-18", capabilities: {tools: {}},
    serverInfo: {name: "v", version: "1"}} : {tools: []};
  console.log(JSON.stringify({jsonrpc: "2.0", id: m.id, result}));
});
"""
# What a project is, and of its files those that are read for decisions. None of them needs an installation.
PROJECTS = {
    "python": ("python", {"pyproject.toml": '[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.8"\n',
                          ".python-version": "3\n", ".mcpboxignore": "*.log\n"}),
    "needs": ("python", {"pyproject.toml": '[project]\nname = "x"\nversion = "1"\n'
                                           'dependencies = ["x @ file:///gone/x-1-py3-none-any.whl"]\n'}),
    "locked": ("python", {"pyproject.toml": '[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.8"\n',
                          "uv.lock": 'version = 1\nrequires-python = ">=3.8"\n\n[[package]]\nname = "x"\n'
                                     'version = "1"\nsource = { virtual = "." }\n'}),
    "header": ("python", {"requirements.txt": "# nothing\n", "setup.cfg": "[metadata]\n",
                          "server.py": "# /// script\n# dependencies = []\n# ///\n" + PYTHON}),
    "node": ("node", {"package.json": '{"name": "x", "version": "1.0.0"}', "package-lock.json": '{"packages": {}}',
                      ".mcpboxignore": "*.log\n"}),
}
TEXTS = {
    "nothing": b"",
    "no text": b'[project]\nname = "\xff\xfe\x00\xc3"\n{"\xff": "\x00"}',
    "deep arrays": b"a = " + b"[" * 200_000,
    "deep keys": b".".join([b"a"] * 100_000) + b" = 1\n[" + b".".join([b"b"] * 100_000) + b"]\n",
    "deep objects": b'{"workspaces":' * 100_000,
    "one line": b"x" * 3_000_000,
    "itself": b"-r requirements.txt\n-c requirements.txt\n-e .\n",
    "wrong kinds": b'{"name": [], "version": {}, "dependencies": 7, "workspaces": 1e999, "packages": []}',
    "wrong tables": b'project = 1\n[tool.uv]\nworkspace = []\nsources = "x"\n[build-system]\nrequires = {}\n',
}


class ManifestCrash(Attack):
    def setUp(self):
        super().setUp()
        self.vault = self.home.root / "secret"
        self.vault.write_text(f"{SECRET}\n")
        self.over = threading.Event()
        servers = {"good": SERVER}
        for name, (command, files) in PROJECTS.items():
            folder = self.home.root / name
            folder.mkdir()
            (folder / "server.py").write_text(PYTHON)
            (folder / "server.js").write_text(NODE)
            for file, text in files.items():
                (folder / file).write_text(text)
            script = "server.js" if command == "node" else "server.py"
            servers[name] = {"command": command, "args": [script], "cwd": str(folder),
                             "box": {"host_path": str(folder)}}
        self.configure(servers, workspace={"allowed_roots": [str(self.home.root / name) for name in PROJECTS]})

    def variants(self, target):
        """What takes the place of this file, or of another variant of it."""
        side = self.home.root / "side" / target.parent.name / target.name
        side.mkdir(parents=True)
        text = target.read_bytes()
        for name, content in {**TEXTS, "cut": text[:len(text) * 2 // 3], "the same": text, "again": text}.items():
            (side / name).write_bytes(content)
        (side / "closed").write_bytes(text)
        (side / "closed").chmod(0)
        with open(side / "huge", "wb") as huge:
            huge.truncate(5 << 30)
        (side / "folder").mkdir()
        os.mkfifo(side / "fifo")
        with socket.socket(socket.AF_UNIX) as unheard:
            os.chdir(side)  # its whole name would be too long for a socket
            unheard.bind("socket")
        for name, to in (("out", self.vault), ("endless", "/dev/zero"), ("a link", target), ("nowhere", "gone")):
            (side / name).symlink_to(to)
        return sorted(side.iterdir())

    def attack(self, target):
        """Exchanges it when it was read, and at any other time; sometimes there is none for a moment."""
        variants, read, absent = self.variants(target), threading.Event(), target.with_name(f"aside-{target.name}")
        on_each_reading(target, read.set)

        def run():
            while not self.over.is_set():
                if random.random() < 0.3:
                    target.rename(absent)
                    read.wait(random.random() / 200)
                    absent.rename(target)
                else:
                    exchange(random.choice(variants), target)
                read.clear()
                read.wait(random.random() / 20)

        attacker = threading.Thread(target=run)
        attacker.start()
        return attacker

    def lives(self, daemon):
        self.assertIsNone(daemon.poll(), "the daemon ended")
        asked = self.home.run("call", "good", "py", "code=print('pong')")
        self.assertIn("pong", asked.stdout, asked.stderr)

    def serve(self):
        self.said = open(self.home.root / "said", "w+")
        self.addCleanup(self.said.close)
        daemon = self.home.serve(self.engine, stderr=self.said)
        self.all_answer(["good"])
        return daemon

    def test_whatever_a_server_writes_into_its_folder_the_daemon_lives(self):
        daemon = self.serve()
        attackers = [self.attack(self.home.root / name / file)
                     for name, (_, files) in PROJECTS.items() for file in files]
        outcomes = Outcomes()
        try:
            for _ in range(repeats(3)):
                restarts = [threading.Thread(target=lambda n=name: outcomes.update(
                    [f"exit {self.home.run('restart', n, timeout=120).returncode}"])) for name in PROJECTS]
                for restart in restarts:
                    restart.start()
                for restart in restarts:
                    restart.join()
                self.lives(daemon)
        finally:
            self.over.set()
            for attacker in attackers:
                attacker.join()
        outcomes.tell("restarts of servers whose manifests are exchanged")
        self.lives(daemon)
        self.said.seek(0)
        log = self.said.read() + "".join(self.home.run("logs", name).stdout for name in PROJECTS)
        self.assertNotIn(SECRET, log)

    if os.geteuid() == 0:  # who may look at what is opened before it is
        def test_a_manifest_is_another_or_none_at_the_next_opening(self):
            daemon, opened = self.serve(), set()
            for name, (_, files) in PROJECTS.items():
                for file, text in files.items():
                    for text_then in (b"\x00[[{", None):
                        for number in range(1, 4):
                            target = self.home.root / name / file
                            target.write_text(text)
                            with Opening(target) as opening:
                                opening.change(number, text_then)
                                planned = self.home.run("explain", name, "-c", str(self.home.config))
                                # One that dies of it is enough to know, so not all go through the daemon.
                                if name == "needs":
                                    self.home.run("restart", name, timeout=120)
                            self.assertIn(planned.returncode, (0, 1), (name, file, number, text_then, planned.stderr))
                            if opening.times > 0:
                                opened.add(file)
            self.assertGreaterEqual(opened, {"pyproject.toml", "package.json", "uv.lock", "requirements.txt"})
            self.lives(daemon)


if __name__ == "__main__":
    unittest.main()
