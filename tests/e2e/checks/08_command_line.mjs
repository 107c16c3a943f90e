// Help, explanations and the small verbs; exit codes as the help has them.
import { assert, begin, check } from '../support/check.mjs';
import { json, repository, servers, verb } from '../support/mcpbox.mjs';

const quickstart = `${repository}/examples/quickstart.yaml`;

export default async function run() {
  begin('command line');
  await check('help of the program and of every verb', async () => {
    const help = await verb(['--help']);
    assert.equal(help.code, 0);
    const verbs = ['run', 'serve', 'ps', 'tools', 'call', 'logs', 'restart', 'stop', 'down', 'check', 'explain', 'doctor', 'image', 'egress', 'version'];
    for (const name of verbs) {
      assert.match(help.stdout, new RegExp(`^ +${name} `, 'm'));
      const own = await verb([name, '--help']);
      assert.equal(own.code, 0, name);
      assert.ok(own.stdout.length > 100, name);
      assert.equal(own.stderr, '');
    }
    assert.match(help.stdout, /Exit codes: 0 done; 1 failed, .*; 2 wrong command line/);
    const running = (await verb(['run', '--help'])).stdout;
    for (const option of ['--stage', '--mount', '--env', '--image', '--direct', 'Examples:', '"mcpServers"']) assert.ok(running.includes(option), option);
  });
  await check('wrong command lines: exit code 2, and nothing on stdout', async () => {
    for (const args of [[], ['no-such-verb'], ['run'], ['run', '--no-such-option', '--', 'x'], ['call'], ['tools', '--format', 'xml'], ['run', '--env', '=x', '--', 'true']]) {
      const ended = await verb(args);
      assert.equal(ended.code, 2, `${args}: ${ended.stderr}`);
      assert.equal(ended.stdout, '', `${args}`);
      assert.notEqual(ended.stderr, '');
    }
  });
  await check('no daemon: exit code 3 and how to start one', async () => {
    for (const args of [['ps'], ['tools'], ['call', 'a', 'b'], ['logs', 'a'], ['restart', 'a'], ['stop', 'a']]) {
      const ended = await verb(args);
      assert.equal(ended.code, 3, `${args}: ${ended.stderr}`);
      assert.match(ended.stderr, /mcpbox serve/);
    }
    assert.equal((await verb(['down'])).code, 0);
  });
  await check('options of ours end at --, those of the server begin there', async () => {
    const plan = await json(['explain', '--stage', servers, '--env', 'A=1', '--stage', `${repository}/examples/notes`, '--', 'node', '--stage', '-v', '--', 'x']);
    assert.deepEqual(plan.argv.slice(-4), ['--stage', '-v', '--', 'x']);
  });
  await check('check, explain, doctor, version', async () => {
    assert.match((await verb(['check', quickstart])).stdout, /quickstart\.yaml: ok, 3 servers/);
    assert.equal((await json(['check', quickstart])).ok, true);
    const explained = await verb(['explain', '-c', quickstart, 'files']);
    assert.equal(explained.code, 0, explained.stderr);
    assert.match(explained.stdout, /installs .*server-filesystem/);
    assert.match(explained.stdout, /copies .*examples\/notes/);
    assert.equal((await verb(['explain', '-c', quickstart, 'nobody'])).code, 2);
    const doctor = await verb(['doctor']);
    assert.equal(doctor.code, 0, doctor.stdout + doctor.stderr);
    assert.match(doctor.stdout, /engine/i);
    await json(['doctor']);
    assert.match((await verb(['version'])).stdout, /^mcpbox \d+\.\d+/);
    assert.match((await verb(['image', 'list'])).stdout, /mcpbox-runner/);
  });
}
