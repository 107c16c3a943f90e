// What can go wrong before a server answers: one clear message each, with the phase, and an exit code.
import http from 'node:http';
import { mkdirSync, writeFileSync } from 'node:fs';
import { assert, begin, check } from '../support/check.mjs';
import { serve, settled } from '../support/daemon.mjs';
import { nothingLeft } from '../support/leftovers.mjs';
import { mcpbox, servers, verb, work } from '../support/mcpbox.mjs';

function project(name, requirements) {
  const dir = `${work}/${name}`;
  mkdirSync(dir);
  writeFileSync(`${dir}/requirements.txt`, requirements);
  writeFileSync(`${dir}/server.py`, 'print("never")\n');
  return dir;
}

// An engine that answers as far as it must, and then has no space for an image.
function fullEngine(socketPath) {
  const reply = (response, code, body) => response.writeHead(code, { 'Content-Type': 'application/json', 'Api-Version': '1.41' }).end(JSON.stringify(body));
  const server = http.createServer((request, response) => {
    const path = request.url.replace(/^\/v[\d.]+/, '').split('?')[0];
    request.resume();
    if (path === '/_ping') return response.writeHead(200, { 'Api-Version': '1.41' }).end('OK');
    if (path === '/version') return reply(response, 200, { Version: '20.10.0', ApiVersion: '1.41', MinAPIVersion: '1.12', Os: 'linux', Arch: 'amd64' });
    if (path === '/info') return reply(response, 200, { OSType: 'linux', Architecture: 'x86_64', SecurityOptions: ['name=seccomp,profile=default'], CgroupVersion: '2' });
    if (path === '/images/create') {
      const error = 'write /var/lib/docker/tmp/GetImageBlob1: no space left on device';
      response.writeHead(200, { 'Content-Type': 'application/json' });
      return response.end(`${JSON.stringify({ status: 'Pulling from library/some' })}\r\n${JSON.stringify({ errorDetail: { message: error }, error })}\r\n`);
    }
    return reply(response, 404, { message: `No such thing: ${path}` });
  });
  return new Promise((resolve) => server.listen(socketPath, () => resolve(server)));
}

export default async function run() {
  begin('failures');
  const wrong = project('wrong', 'mcpbox-no-such-distribution-x9==1.0\n');

  await check('npm package that does not exist', async () => {
    const ended = await verb(['run', '--', 'npx', '-y', '@mcpbox-e2e/no-such-package-x9'], { milliseconds: 110_000 });
    assert.equal(ended.code, 125, ended.stderr);
    assert.match(ended.stderr, /mcpbox: .*no such package in the npm registry/);
    assert.ok(ended.stderr.includes('@mcpbox-e2e/no-such-package-x9'));
    await nothingLeft();
  });
  await check('Python requirement that does not exist', async () => {
    const ended = await verb(['run', '--stage', wrong, '--', 'python', `${wrong}/server.py`], { milliseconds: 110_000 });
    assert.equal(ended.code, 125, ended.stderr);
    assert.match(ended.stderr, /no such package in the Python index|no such package or version/);
    assert.ok(ended.stderr.includes('mcpbox-no-such-distribution-x9'));
    await nothingLeft();
  });
  await check('the same in a daemon, each with its phase: missing command, crash, packages', async () => {
    const config = `${work}/broken.yaml`;
    writeFileSync(config, `version: 1
workspace:
  allowed_roots: [${servers}, ${wrong}]
servers:
  missing: {command: no-such-program-here}
  crash: {command: python, args: [pond.py], env: {MISBEHAVE: crash}, box: {host_path: ${servers}}}
  package: {command: npx, args: [-y, "@mcpbox-e2e/no-such-package-x9"]}
  requirement: {command: python, args: [server.py], box: {host_path: ${wrong}}}
`);
    const daemon = await serve(config);
    const { code, servers: list } = await settled();
    assert.equal(code, 5);
    const expected = {
      missing: ['process_start', /no-such-program-here/],
      crash: ['mcp_init', /RuntimeError: the pond is empty/],
      package: ['dep_install', /no such package in the npm registry/],
      requirement: ['dep_install', /no such package/],
    };
    for (const [name, [phase, words]] of Object.entries(expected)) {
      assert.equal(list[name].state, 'error', name);
      assert.equal(list[name].phase, phase, `${name}: ${list[name].error}`);
      assert.match(list[name].error, words);
      assert.match(daemon.stderr, new RegExp(`${name}.*${phase}`));
    }
    const table = await verb(['ps']);
    for (const [phase] of Object.values(expected)) assert.ok(table.stdout.includes(phase), table.stdout);
    const call = await verb(['call', 'crash', 'echo']);
    assert.equal(call.code, 5);
    assert.match(call.stderr, /the pond is empty/);
    daemon.child.kill('SIGTERM');
    assert.equal((await daemon.end(60_000)).code, 0);
    await nothingLeft();
  }, 300_000);

  await check('a configuration with mistakes: all at once, with their places', async () => {
    const config = `${work}/mistakes.yaml`;
    writeFileSync(config, 'version: 1\nserver:\n  a: {}\nservers:\n  b:\n    comand: npx\n    args: npx\n  c:\n    command: [x]\n');
    for (const args of [['check', config], ['serve', '-c', config]]) {
      const ended = await verb(args);
      assert.equal(ended.code, 2, ended.stderr);
      const places = ended.stderr.split('\n').map((line) => /^(.*):(\d+):(\d+): /.exec(line)).filter(Boolean);
      assert.ok(places.every((place) => place[1].endsWith('mistakes.yaml')), ended.stderr);
      const lines = places.map((place) => Number(place[2]));
      for (const line of [2, 6, 7, 9]) assert.ok(lines.includes(line), `line ${line} is not told:\n${ended.stderr}`);
      assert.match(ended.stderr, /did you mean .?servers/);
      assert.match(ended.stderr, /did you mean .?command/);
    }
    const report = await verb(['check', config, '--format', 'json']);
    assert.equal(JSON.parse(report.stdout).ok, false);
  });
  await check('a syntax error in the YAML', async () => {
    const config = `${work}/syntax.yaml`;
    writeFileSync(config, 'version: 1\nservers:\n  a: {command: npx\n  b: ]\n');
    const ended = await verb(['serve', '-c', config]);
    assert.equal(ended.code, 2);
    assert.match(ended.stderr, /syntax\.yaml:[345]:\d+: /);
    const missing = await verb(['serve', '-c', `${work}/nowhere.yaml`]);
    assert.equal(missing.code, 2);
    assert.match(missing.stderr, /nowhere\.yaml/);
  });
  await check('no engine: exit code 4 and what to do', async () => {
    // A state directory in which no daemon has noted an engine: `down` goes by that one first.
    const env = { DOCKER_HOST: `unix://${work}/no-engine.sock`, MCPBOX_STATE_DIR: `${work}/no-engine-state` };
    const config = `${work}/one.yaml`;
    writeFileSync(config, 'version: 1\nservers:\n  a: {command: "true"}\n');
    for (const args of [['run', '--', 'true'], ['serve', '-c', config], ['image', 'list'], ['down']]) {
      const ended = await verb(args, { env });
      assert.equal(ended.code, 4, `${args}: ${ended.stderr}`);
      assert.match(ended.stderr, /engine/);
      assert.ok(ended.stderr.includes('no-engine.sock'), ended.stderr);
    }
    const doctor = await verb(['doctor'], { env });
    assert.notEqual(doctor.code, 0);
  });
  await check('no space for the image', async () => {
    const socket = `${work}/full.sock`;
    const server = await fullEngine(socket);
    try {
      const env = { DOCKER_HOST: `unix://${socket}` };
      const ended = await verb(['run', '--image', 'some:tag', '--', 'true'], { env });
      assert.equal(ended.code, 125, ended.stderr);
      assert.match(ended.stderr, /mcpbox: .*image .?some:tag.*no space left on device/s);
    } finally {
      server.closeAllConnections?.();
      server.close();
    }
  });
  await check('mcpbox-init that is not there', async () => {
    const ended = await verb(['run', '--', 'true'], { env: { MCPBOX_INIT: `${mcpbox}.nowhere` } });
    assert.equal(ended.code, 125, ended.stderr);
    assert.match(ended.stderr, /mcpbox-init is not there/);
  });
}
