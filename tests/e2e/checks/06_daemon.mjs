// The daemon: the quickstart with all verbs, then everything that can be killed.
import { spawn } from 'node:child_process';
import { readdirSync, writeFileSync } from 'node:fs';
import { assert, begin, check, until } from '../support/check.mjs';
import { connected, restarted, serve, server } from '../support/daemon.mjs';
import { containers, removeContainer, volumes } from '../support/engine.mjs';
import { nothingLeft } from '../support/leftovers.mjs';
import { json, repository, runDir, servers, start, verb, work } from '../support/mcpbox.mjs';

const quickstart = `${repository}/examples/quickstart.yaml`;

const workspaces = async () => (await volumes()).map((volume) => volume.Name).filter((name) => name.endsWith('-ws'));

async function echo(text) {
  const ended = await verb(['call', 'pond', 'echo', `message=${text}`]);
  assert.equal(ended.code, 0, ended.stderr);
  assert.equal(ended.stdout.trim(), text);
}

async function down(daemon) {
  const before = await workspaces();
  const ended = await verb(['down'], { milliseconds: 90_000 });
  assert.equal(ended.code, 0, ended.stderr);
  if (daemon) await daemon.end();
  await nothingLeft();
  // What servers wrote into their copies is there the next time.
  assert.deepEqual(await workspaces(), before);
}

async function quick() {
  let daemon;
  await check('the quickstart: three servers connect in one container', async () => {
    daemon = await serve(quickstart);
    const list = await connected('everything', 'files', 'greeter');
    assert.equal((await containers()).length, 1);
    assert.equal(new Set(Object.values(list).map((entry) => entry.uid)).size, 3);
  }, 300_000);
  await check('tools and call', async () => {
    const tools = await json(['tools']);
    assert.ok(tools.everything.some((tool) => tool.name === 'echo' && tool.inputSchema));
    assert.ok(tools.files.some((tool) => tool.name === 'read_text_file'));
    const table = await verb(['tools', 'greeter']);
    assert.match(table.stdout, /greeter\s+greet/);
    const hello = await verb(['call', 'greeter', 'greet', 'name=Ada']);
    assert.deepEqual([hello.code, hello.stdout.trim()], [0, 'Hello, Ada!']);
    const sum = await verb(['call', 'everything', 'get-sum', 'a:=2', 'b:=3']);
    assert.match(sum.stdout, /\b5\b/);
  });
  await check('exit codes of call', async () => {
    const refused = await verb(['call', 'files', 'read_text_file', 'path=/etc/shadow']);
    assert.equal(refused.code, 6, refused.stdout + refused.stderr);
    assert.equal((await verb(['call', 'nobody', 'x'])).code, 1);
    assert.equal((await verb(['call', 'greeter', 'greet', 'noequals'])).code, 2);
  });
  await check('logs, restart, stop', async () => {
    assert.match((await verb(['logs', 'everything'])).stdout, /Starting default/);
    const before = await server('greeter');
    assert.equal((await verb(['restart', 'greeter'])).code, 0);
    const after = await server('greeter');
    assert.equal(after.state, 'connected');
    assert.notEqual(after.pid, before.pid);
    assert.equal((await verb(['stop', 'greeter'])).code, 0);
    assert.equal((await server('greeter')).state, 'stopped');
    const call = await verb(['call', 'greeter', 'greet', 'name=x']);
    assert.equal(call.code, 5);
    assert.match(call.stderr, /stopped/);
    assert.equal((await verb(['restart', 'greeter'])).code, 0);
    assert.equal((await server('greeter')).state, 'connected');
  });
  await check('a second daemon on the same socket is refused', async () => {
    const ended = await verb(['serve', '-c', quickstart]);
    assert.equal(ended.code, 1);
    assert.match(ended.stderr, new RegExp(`process ${daemon.child.pid} serves .* already; stop it with .mcpbox down`));
    assert.equal((await server('greeter')).state, 'connected');
  });
  await check('down leaves nothing running', async () => {
    const written = await verb(['call', 'files', 'write_file', 'path=mine.txt', 'content=written inside']);
    assert.equal(written.code, 0, written.stderr);
    await down(daemon);
  });
  await check('what a server wrote into its copy is there after down and a new start', async () => {
    daemon = await serve(quickstart);
    await connected('everything', 'files', 'greeter');
    const read = await verb(['call', 'files', 'read_text_file', 'path=mine.txt']);
    assert.match(read.stdout, /written inside/);
    await down(daemon);
  });
}

async function kills() {
  const config = `${work}/pond.yaml`;
  writeFileSync(config, `version: 1
workspace:
  allowed_roots: [${servers}]
servers:
  pond: {command: python, args: [pond.py], box: {host_path: ${servers}}}
  neighbour: {command: python, args: [pond.py], box: {host_path: ${servers}}}
`);
  let daemon;
  await check('who goes away cancels: mcpbox call with SIGINT and SIGTERM, a killed curl; a neighbour reads its log on', async () => {
    daemon = await serve(config);
    await connected('pond', 'neighbour');
    const cancelled = async () => JSON.parse((await verb(['call', 'pond', 'cancelled'])).stdout);
    const follower = start(['logs', '-f', 'neighbour']);
    let known = 0;
    const leave = async (child, signal, ended) => {
      // The call that asks is answered after the one that waits, so that one has reached the server.
      await new Promise((resolve) => setTimeout(resolve, 500));
      assert.equal((await cancelled()).length, known);
      const began = Date.now();
      child.kill(signal);
      const how = await ended;
      const took = Date.now() - began;
      assert.ok(took < 2000, `${signal} took ${took} ms`);
      ++known;
      await until('the server is told', async () => (await cancelled()).length === known, 5000);
      return how;
    };
    for (const [signal, code] of [['SIGINT', 130], ['SIGTERM', 143]]) {
      const call = start(['call', 'pond', 'never']);
      const ended = await leave(call.child, signal, call.end());
      assert.deepEqual([ended.code, ended.stdout, ended.stderr], [code, '', '']);
    }
    const curl = spawn('curl', ['-s', '--unix-socket', `${runDir}/control.sock`, '-H', 'Content-Type: application/json',
      '-d', '{"tool":"never","arguments":{}}', 'http://mcpbox/v1/servers/pond/call'], { stdio: 'ignore' });
    await leave(curl, 'SIGKILL', new Promise((resolve) => curl.on('close', resolve)));
    assert.equal(follower.child.exitCode, null);
    follower.child.kill('SIGINT');
    assert.equal((await follower.end(2000)).code, 130);
  });
  await check('a killed server: the call fails in words, it is restarted, its neighbour is untouched', async () => {
    const before = await server('pond');
    const neighbour = await server('neighbour');
    const call = await verb(['call', 'pond', 'die']);
    assert.notEqual(call.code, 0);
    assert.match(call.stderr, /SIGKILL|signal 9|killed/i);
    await restarted(before);
    assert.match((await verb(['logs', 'pond'])).stdout, /mcpbox .*(SIGKILL|signal 9|killed)/i);
    await echo('back');
    assert.equal((await server('neighbour')).pid, neighbour.pid);
  });
  await check('the sandbox is removed behind its back: said in words, and it comes back', async () => {
    const before = await server('pond');
    const [container] = await containers();
    await removeContainer(container.Id);
    await restarted(before);
    assert.match(daemon.stderr, /removed from outside mcpbox|ended with exit code/);
    const [now] = await containers();
    assert.notEqual(now.Id, container.Id);
    await echo('in a new sandbox');
    await connected('pond', 'neighbour');
  });
  await check('kill -9 of the daemon: the next one takes over the container', async () => {
    const [container] = await containers();
    daemon.child.kill('SIGKILL');
    await daemon.end();
    const gone = await verb(['ps']);
    assert.equal(gone.code, 3);
    assert.match(gone.stderr, /mcpbox serve/);
    const began = Date.now();
    daemon = await serve(config);
    await connected('pond', 'neighbour');
    const took = Date.now() - began;
    const now = await containers();
    assert.deepEqual(now.map((entry) => entry.Id), [container.Id]);
    await echo('adopted');
    return `second start ${took} ms`;
  });
  await check('SIGTERM ends the daemon and its sandbox', async () => {
    daemon.child.kill('SIGTERM');
    const ended = await daemon.end(60_000);
    assert.equal(ended.code, 0, ended.stderr);
    await nothingLeft();
  });
  await check('down after kill -9 of the daemon leaves nothing', async () => {
    daemon = await serve(config);
    await connected('pond');
    daemon.child.kill('SIGKILL');
    await daemon.end();
    assert.equal((await containers()).length, 1);
    await down(null);
    assert.deepEqual(readdirSync(runDir), []);
  });
  await check('kill -9 of the daemon while it starts; down leaves nothing', async () => {
    daemon = await serve(config);
    await until('the sandbox is being made', async () => (await containers()).length > 0);
    daemon.child.kill('SIGKILL');
    await daemon.end();
    await down(null);
  });
}

export default async function run() {
  begin('daemon');
  await quick();
  begin('daemon kills');
  await kills();
}
