// Environments over their life: made once, shared, used without network, seen, refreshed, never removed in use; and installations that go wrong.
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { assert, begin, check, until } from '../support/check.mjs';
import { connected, serve, server, settled } from '../support/daemon.mjs';
import { containers } from '../support/engine.mjs';
import { nothingLeft } from '../support/leftovers.mjs';
import { callTool, initialize, initialized, json, servers, start, verb, work } from '../support/mcpbox.mjs';

const ten = ['requests', 'httpx', 'pydantic', 'jinja2', 'pyyaml', 'click', 'rich', 'python-dateutil', 'tenacity', 'tomlkit'];
const imports = ['requests', 'httpx', 'pydantic', 'jinja2', 'yaml', 'click', 'rich', 'dateutil', 'tenacity', 'tomlkit'];

function project(name, files) {
  const folder = `${work}/environments/${name}`;
  mkdirSync(folder, { recursive: true });
  for (const [file, text] of Object.entries(files)) writeFileSync(`${folder}/${file}`, text);
  cpSync(`${servers}/needs.py`, `${folder}/server.py`);
  return folder;
}

function configuration(name, lines) {
  const file = `${work}/${name}.yaml`;
  writeFileSync(file, `version: 1\nworkspace:\n  allowed_roots: [${work}]\n${lines}`);
  return file;
}

// A whole `mcpbox run` as an MCP session of a few messages, closed again.
async function session(args, tool, env = {}) {
  const run = start(['run', ...args], { env });
  run.send(initialize);
  await run.reply(1, 140_000);
  run.send(initialized);
  const answer = tool ? (run.send(callTool(2, ...tool)), await run.reply(2)) : null;
  run.child.stdin.end();
  const ended = await run.end();
  assert.equal(ended.code, 0, ended.stderr);
  return { text: answer?.result.content[0].text, stderr: ended.stderr };
}

async function down(daemon) {
  await verb(['down'], { milliseconds: 90_000 });
  if (daemon) await daemon.end(60_000);
  await nothingLeft();
}

async function withoutNetwork() {
  const folder = project('ten', { 'requirements.txt': `${ten.join('\n')}\n` });
  const python = ['--stage', folder, '--env', `NEEDS=${imports.join(',')}`, '--', 'python', `${folder}/server.py`];
  const npm = ['--', 'npx', '-y', '@modelcontextprotocol/server-everything'];
  const uvx = ['--', 'uvx', 'mcp-server-time', '--local-timezone', 'UTC'];
  await check('ten real dependencies, an npm package and a Python tool are installed with progress', async () => {
    const [first] = await Promise.all([session(['-v', ...python], ['needs', {}]), session(npm), session(uvx)]);
    assert.equal(first.text, imports.join(','));
    assert.match(first.stderr, /mcpbox: {3}install the project's requirements with uv[\s\S]*mcpbox: {3}installed /);
  });
  await check('the second start, in a new process and sandbox and without network, installs nothing', async () => {
    const again = await session(['-v', '--install-mode', 'offline', ...python], ['needs', {}]);
    assert.equal(again.text, imports.join(','));
    assert.doesNotMatch(again.stderr, /install the project/);
    await Promise.all([npm, uvx].map((args) => session(['--install-mode', 'offline', ...args])));
  });
  return folder;
}

async function daemonWithoutNetwork(folder) {
  await check('a new daemon without network uses the same environments', async () => {
    const daemon = await serve(configuration('offline', `box: {install_mode: offline}
servers:
  python: {command: python, args: [server.py], env: {NEEDS: "${imports.join(',')}"}, box: {host_path: ${folder}}}
  npm: {command: npx, args: [-y, "@modelcontextprotocol/server-everything"]}
  uvx: {command: uvx, args: [mcp-server-time, --local-timezone, UTC]}
`));
    const list = await connected('python', 'npm', 'uvx');
    assert.match(list.npm.packages, /^@modelcontextprotocol\/server-everything@\d/);
    assert.equal(list.python.environment.length, 32);
    const kept = await verb(['env', 'prune', '--all', '--format', 'json']);
    const pruned = JSON.parse(kept.stdout);
    for (const name of ['python', 'npm', 'uvx']) assert.ok(pruned.in_use.includes(list[name].environment), kept.stdout);
    assert.equal((await verb(['restart', 'python'])).code, 0);
    await down(daemon);
  });
}

async function shared() {
  const folder = project('shared', { 'requirements.txt': 'cowsay==5.0\n' });
  const names = Array.from({ length: 10 }, (_, index) => `s${index}`);
  const file = configuration('shared', `servers:\n${names.map((name) => `  ${name}: {command: python, args: [server.py], box: {host_path: ${folder}}}\n`).join('')}`);
  let daemon;
  await check('ten servers with the same dependencies install once', async () => {
    daemon = await serve(file);
    const list = await connected(...names);
    assert.equal(new Set(names.map((name) => list[name].environment)).size, 1);
    assert.equal(daemon.stderr.match(/install the project's requirements with uv/g).length, 1, daemon.stderr);
    const entry = JSON.parse((await verb(['env', 'list', '--format', 'json'])).stdout).environments.find((one) => one.hash === list.s0.environment);
    assert.deepEqual([entry.resolved, entry.in_use, [...entry.servers].sort()], [['cowsay==5.0'], true, names]);
    assert.ok(entry.bytes > 50_000 && entry.made > 1_700_000_000);
    assert.match((await verb(['logs', 's3', '--install'])).stdout, /installed cowsay==5\.0/);
  });
  await check('refresh gives one server a new environment and leaves the others theirs', async () => {
    const before = (await server('s0')).environment;
    const ended = await verb(['env', 'refresh', 's0'], { milliseconds: 120_000 });
    assert.equal(ended.code, 0, ended.stderr);
    assert.match(ended.stdout, /s0: connected, cowsay==5\.0/);
    assert.notEqual((await server('s0')).environment, before);
    assert.equal((await server('s1')).environment, before);
    await down(daemon);
  });
}

async function hanging() {
  const hang = project('hang', { 'setup.py': 'import time\nprint("building", flush=True)\ntime.sleep(1000)\n', 'requirements.txt': '-e .\n' });
  const file = configuration('hang', `servers:
  hangs: {command: python, args: [server.py], box: {host_path: ${hang}, startup_timeout_sec: 6}}
  neighbour: {command: python, args: [pond.py], box: {host_path: ${pond()}}}
`);
  await check('an installation that hangs is killed at its limit; its neighbour answers; the next attempt has its downloads', async () => {
    const daemon = await serve(file);
    await until('the neighbour is connected', async () => (await server('neighbour')).state === 'connected');
    const failed = await until('the installation is given up', async () => {
      const call = await verb(['call', 'neighbour', 'echo', 'message=there']);
      assert.equal(call.stdout.trim(), 'there', call.stderr);
      const view = await server('hangs');
      return view.error ? view : null;
    }, 60_000);
    assert.equal(failed.phase, 'dep_install');
    assert.match(failed.error, /install the project's requirements with uv: killed, because it was not done within 6\.0 s/);
    assert.match(failed.error, /downloaded is kept/);
    await until('the second attempt', async () => /its downloads are used again/.test((await verb(['logs', 'hangs'])).stdout), 60_000);
    await verb(['stop', 'hangs']);
    await until('no installer is left', async () => !(await containers()).some((one) => /install-/.test(one.Names[0])));
    await down(daemon);
  });
}

function pond() {
  const folder = `${work}/environments/pond`;
  mkdirSync(folder, { recursive: true });
  cpSync(`${servers}/pond.py`, `${folder}/pond.py`);
  return folder;
}

async function refusals() {
  const runs = async (mode, files, ...more) => {
    const folder = project(`refused-${Math.random().toString(36).slice(2, 8)}`, files);
    return verb(['run', '--install-mode', mode, ...more, '--stage', folder, '--', 'python', `${folder}/server.py`], { milliseconds: 120_000 });
  };
  await check('locked says what is not pinned', async () => {
    const ended = await runs('locked', { 'requirements.txt': 'cowsay==6.1\nrequests>=2\n' });
    assert.equal(ended.code, 125);
    assert.match(ended.stderr, /requirements\.txt: it names no exact version of requests>=2; .*--generate-hashes/);
  });
  await check('locked installs nothing that is not named', async () => {
    const ended = await runs('locked', { 'requirements.txt': 'python-dateutil==2.9.0.post0\n' });
    assert.equal(ended.code, 125);
    assert.match(ended.stderr, /check that nothing is missing: exit code 1[\s\S]*python-dateutil.*requires.*six/);
  });
  await check('offline without a source says how to get one', async () => {
    const ended = await runs('offline', { 'requirements.txt': 'cowsay==4.0\n' });
    assert.equal(ended.code, 125);
    assert.match(ended.stderr, /--install-mode is offline .*not installed yet: .*--wheelhouse/);
  });
  await check('no such version, in words', async () => {
    const ended = await runs('open', { 'requirements.txt': 'cowsay==99\n' });
    assert.match(ended.stderr, /install the project's requirements with uv: exit code 1; the package exists, but not in that version[\s\S]*cowsay==99/);
  });
  await check('no build tools, in words', async () => {
    const ended = await runs('open', {
      'requirements.txt': '-e .\n', 'x.c': 'int x;\n',
      'setup.py': 'from setuptools import setup, Extension\nsetup(name="x", version="1", ext_modules=[Extension("x", ["x.c"])])\n',
    });
    assert.match(ended.stderr, /exit code 1; a package has no ready-made wheel and needs a compiler: use an image with build tools/);
  });
  await check('killed for memory, in words', async () => {
    const ended = await runs('open', { 'requirements.txt': '-e .\n', 'setup.py': 'x = [bytearray(b"x" * (1 << 20)) for _ in range(4096)]\n' }, '--memory', '160');
    assert.notEqual(ended.code, 0);
    assert.match(ended.stderr, /memory/);
  });
}

export default async function run() {
  begin('environments');
  const [folder] = await Promise.all([withoutNetwork(), refusals()]);
  await daemonWithoutNetwork(folder);
  await shared();
  await hanging();
}
