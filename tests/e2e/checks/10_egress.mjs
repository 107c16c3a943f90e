// Real programs in sandboxes asking for real hosts: through the proxy where a rule names them, and a clear refusal where none does.
import { lookup } from 'node:dns/promises';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { assert, begin, check, until } from '../support/check.mjs';
import { connected, serve, server } from '../support/daemon.mjs';
import { nothingLeft } from '../support/leftovers.mjs';
import { connect, json, repository, runDir, servers, stateDir, textOf, verb, work } from '../support/mcpbox.mjs';
import { nodeFolder, nodeVersions } from '../support/node_versions.mjs';

const kRegistries = ['pypi.org', 'files.pythonhosted.org', 'registry.npmjs.org'];
const kRefused = 'example.com';

// Where they are split DNS or a gateway's, their addresses may not be public ones.
async function addresses() {
  const all = await Promise.all(kRegistries.map((host) => lookup(host, { all: true })));
  return [...new Set(all.flat().map((found) => found.address))];
}

// What each program is asked to do; `host` stands for an allowed or a refused one.
const programs = [
  ['python requests', (host) => `python3 -c "import requests; print(requests.get('https://${host}/simple/six/', timeout=20).status_code)"`, /^exit code 0\n200/],
  ['python urllib', (host) => `python3 -c "import urllib.request as u; print(u.urlopen('https://${host}/simple/six/', timeout=20).status)"`, /^exit code 0\n200/],
  // No index, no repository there: what answers "not found" was reached.
  ['git', (host) => `git ls-remote https://${host}/nothing.git`, /repository .* not found/i],
];

const nodePrograms = {
  fetch: (host) => `fetch('https://${host}/').then((r) => console.log('status', r.status), (e) => console.log(e, e.cause))`,
  https: (host) => `require('https').get('https://${host}/', (r) => { console.log('status', r.statusCode); r.destroy(); }).on('error', (e) => console.log(e))`,
};

async function withPrivate(run) {
  const found = await addresses();
  return run(found.flatMap((address) => ['--allow-private', address]), found);
}

async function ordinaryPrograms(engine) {
  begin(`egress ${engine.join(' ')}`.trim());
  const nodes = nodeVersions();
  let session;
  const sh = async (command) => textOf(await session.call('sh', { command }));
  await check('a server with rules starts', async () => {
    await withPrivate(async (open) => {
      const allow = kRegistries.flatMap((host) => ['--allow', host]);
      session = await connect([...engine, ...open, ...allow, '--stage', `${servers}/reach`, '--mount', nodeFolder, '--', 'python3', `${servers}/reach/reach.py`]);
    });
  });
  if (!session) return;
  for (const [name, command, reached] of programs) {
    await check(`${name}: allowed, and refused with a reason`, async () => {
      assert.match(await sh(command('pypi.org')), reached);
      const refused = await sh(command(kRefused));
      assert.doesNotMatch(refused, /^exit code 0/);
      assert.match(refused, /403/);
    });
  }
  await check('pip, uv and npm take packages from their registries', async () => {
    assert.match(await sh('uv pip install --quiet --target six --python /usr/bin/python3 six==1.17.0 && ls six'), /^exit code 0\n(.*\n)*six\.py/);
    assert.match(await sh('pip download --quiet --no-deps --dest wheels six==1.17.0 && ls wheels'), /six-1\.17\.0/);
    assert.match(await sh('npm view semver@7.6.3 version'), /^exit code 0\n7\.6\.3/);
    assert.match(await sh('npx -y semver@7.6.3 1.2.3'), /^exit code 0\n(.*\n)*1\.2\.3/);
  });
  for (const [version, program] of Object.entries(nodes)) {
    await check(`Node ${version}: fetch and https, allowed and refused`, async () => {
      for (const [name, text] of Object.entries(nodePrograms)) {
        const run = (host) => sh(`${program} -e ${JSON.stringify(text(host))}`);
        assert.match(await run('registry.npmjs.org'), /status 200/, name);
        const refused = await run(kRefused);
        assert.doesNotMatch(refused, /status/, name);
        assert.match(refused, /403/, name);
      }
    });
  }
  await check('there is no other way out: no DNS, no route', async () => {
    assert.match(await sh(`python3 -c "import socket; socket.gethostbyname('pypi.org')"`), /gaierror/);
    assert.match(await sh(`python3 -c "import socket; socket.create_connection(('192.0.2.1', 443), 5)"`), /PermissionError|unreachable/);
    assert.match(await sh(`env -u HTTPS_PROXY -u https_proxy -u ALL_PROXY -u all_proxy python3 -c "import requests; requests.get('https://pypi.org')"`), /Error/);
  });
  await check('the end leaves nothing', async () => {
    await session.close();
    await nothingLeft();
  });
}

async function phases() {
  begin('egress of the daemon');
  const found = await addresses();
  const config = `${work}/egress.yaml`;
  writeFileSync(config, `version: 1
workspace: {allowed_roots: [${servers}]}
egress: {allow_private: ${JSON.stringify(found)}}
servers:
  reach: {command: python3, args: [reach.py], cwd: ${servers}/reach, box: {host_path: ${servers}/reach, network: {allow: [registry.npmjs.org]}}}
  closed: {command: python3, args: [reach.py], cwd: ${servers}/reach, box: {host_path: ${servers}/reach, network: none}}
`);
  let daemon;
  const sh = async (name, command) => (await verb(['call', name, 'sh', `command=${command}`])).stdout;
  const status = (host) => `python3 -c "import requests; print(requests.get('https://${host}', timeout=20).status_code)"`;
  await check('58: an installation reaches its registry, the server that runs does not', async () => {
    daemon = await serve(config);
    const list = await connected('reach', 'closed');
    assert.deepEqual([list.reach.network, list.closed.network], ['allowlist', 'none']);
    assert.match(await sh('reach', status('registry.npmjs.org')), /^exit code 0\n200/);
    assert.match(await sh('reach', status('pypi.org/simple/')), /403/);
    assert.match(await sh('closed', status('registry.npmjs.org')), /Error/);
    assert.match(await sh('closed', 'env'), /^(?!.*_PROXY)[^]*$/s);
  });
  await check('tail and suggest tell what was asked for', async () => {
    const tail = (await verb(['egress', 'tail', 'reach'])).stdout;
    assert.match(tail, /refuse +run +reach +pypi\.org:443 +no rule names it; add `box\.network\.allow: \[pypi\.org\]`/);
    assert.match(tail, /open +run +reach +registry\.npmjs\.org:443 +rule registry\.npmjs\.org/);
    const suggested = JSON.parse((await verb(['egress', 'suggest', '--json', 'reach'])).stdout);
    assert.deepEqual(suggested.allow, ['pypi.org', 'registry.npmjs.org']);
    const all = (await verb(['egress', 'tail', '-n', '10000'])).stdout;
    assert.match(all, /open +install +\S+ +pypi\.org:443/);
  });
  await check('the credential is in no log', async () => {
    const token = /http:\/\/[^:]+:([0-9a-f]{32})@/.exec(await sh('reach', 'env'))?.[1];
    assert.ok(token, 'the server has one');
    const logs = (await verb(['logs', 'reach'])).stdout;
    assert.match(logs, /my proxy is http:\/\/[^:]+:\*\*\*@127\.0\.0\.1:3128/);
    for (const text of [logs, daemon.stderr, readFileSync(`${stateDir}/egress/egress.jsonl`, 'utf8')]) assert.ok(!text.includes(token));
  });
  await check('a proxy that is killed comes back, and the server goes on', async () => {
    const before = await server('reach');
    const proxy = await until('the proxy of this daemon', () => childNamed(daemon.child.pid));
    process.kill(proxy, 'SIGKILL');
    await until('another proxy', () => childNamed(daemon.child.pid, proxy));
    await until('an answer', async () => /\n200/.test(await sh('reach', status('registry.npmjs.org'))));
    const after = await server('reach');
    assert.deepEqual([after.pid, after.restarts], [before.pid, before.restarts]);
  });
  await check('a daemon that is killed: the next one adopts the sandbox, and its servers reach their hosts', async () => {
    daemon.child.kill('SIGKILL');
    await daemon.ended;
    daemon = await serve(config);
    await connected('reach', 'closed');
    assert.match(daemon.stderr, /adopted sandbox/);
    assert.match(await sh('reach', status('registry.npmjs.org')), /^exit code 0\n200/);
  });
  await check('down leaves nothing', async () => {
    assert.equal((await verb(['down'], { milliseconds: 90_000 })).code, 0);
    await daemon.end();
    await nothingLeft();
    assert.ok(!existsSync(`${runDir}/egress`));
  });
}

// The process that this one started as `egress serve`; not `other`.
function childNamed(parent, other) {
  const children = readFileSync(`/proc/${parent}/task/${parent}/children`, 'utf8').trim().split(' ').map(Number).filter(Boolean);
  return children.find((pid) => pid !== other && readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('\0egress\0serve\0'));
}

async function curl() {
  begin('egress');
  await check('curl on the native engine: allowed, and refused with the text that says what to add', async () => {
    await withPrivate(async (open) => {
      const run = (host) => verb(['run', '--engine', 'native', ...open, '--allow', 'pypi.org', '--', 'curl', '-sS', '-o', '/dev/null', '-w', '%{stderr}%{http_code} %{http_connect}\n', `https://${host}/`]);
      assert.match((await run('pypi.org')).stderr, /200 200/);
      assert.match((await run(kRefused)).stderr, /403/);
      const plain = await verb(['run', '--engine', 'native', ...open, '--', 'curl', '-sS', 'http://pypi.org/']);
      assert.match(plain.stderr, /not allowed for server 'curl' \(run phase\): no rule names it; run with `--allow pypi\.org`/);
    });
  });
  await check('explain names the registries and the rules, and a wrong rule is an error', async () => {
    const plan = await json(['explain', '--allow', 'api.example.com', '--', 'uvx', 'mcp-server-time']);
    assert.deepEqual(plan.network.allow, ['api.example.com']);
    assert.ok(plan.network.registries.length > 0);
    const wrong = await verb(['run', '--allow', '*', '--', 'x']);
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, /--allow: the rule '\*' is wrong/);
  });
}

export default async function run() {
  await ordinaryPrograms([]);
  await phases();
  await curl();
}
