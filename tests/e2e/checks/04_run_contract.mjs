// What `mcpbox run` promises about stdout, about requests whose server died, and about exit codes.
import { assert, begin, check } from '../support/check.mjs';
import { nothingLeft } from '../support/leftovers.mjs';
import { allTools, callTool, connect, initialize, initialized, servers, start, textOf, verb } from '../support/mcpbox.mjs';

const pond = (options = []) => ['--stage', servers, ...options, '--', 'python', 'pond.py'];

export default async function run() {
  begin('run');
  await check('a server that prints garbage: the client reads JSON-RPC only, the rest is on stderr', async () => {
    const running = start(['run', ...pond(['--env', 'MISBEHAVE=noise'])]);
    running.send(initialize);
    await running.reply(1);
    running.send(initialized);
    running.send(callTool(2, 'echo', { message: 'through the noise' }));
    assert.equal(textOf((await running.reply(2)).result), 'through the noise');
    running.child.stdin.end();
    const ended = await running.end();
    assert.equal(ended.code, 0, ended.stderr.slice(-2000));
    const lines = ended.stdout.split('\n').filter((line) => line !== '');
    assert.equal(lines.length, 2);
    for (const line of lines) assert.equal(JSON.parse(line).jsonrpc, '2.0');
    assert.match(ended.stderr, /welcome to pond/);
    assert.match(ended.stderr, /a log line in JSON/);
    await nothingLeft();
  });
  await check('the same with the official client: it sees nothing that it cannot read', async () => {
    const session = await connect(pond(['--env', 'MISBEHAVE=noise']));
    assert.ok((await allTools(session.client)).length > 0);
    assert.equal(textOf(await session.call('echo', { message: 'clean' })), 'clean');
    assert.deepEqual(session.garbage, []);
    await session.close();
  });
  await check('a server that is killed: requests in flight get an error that says how; exit code 137', async () => {
    const session = await connect(pond());
    await assert.rejects(session.call('die'), (error) => {
      assert.equal(error.code, -32000);
      assert.match(error.message, /SIGKILL|signal 9|killed/i);
      return true;
    });
    assert.deepEqual(await session.ended, { code: 137, signal: null });
    assert.match(session.stderr, /mcpbox: the server ended: .*(SIGKILL|signal 9|killed)/i);
    await nothingLeft();
  });
  await check('several requests in flight: each gets its error', async () => {
    const running = start(['run', ...pond()]);
    running.send(initialize);
    await running.reply(1);
    for (const message of [callTool('a', 'exit', { code: 7 }), callTool(3.5, 'echo'), callTool('c', 'echo')]) running.send(message);
    const ended = await running.end();
    assert.equal(ended.code, 7);
    const errors = running.messages().filter((message) => message.error);
    assert.deepEqual(errors.map((message) => message.id), ['a', 3.5, 'c']);
    for (const message of errors) assert.match(message.error.message, /exit code 7|exited with 7/);
  });
  await check('--direct: exit code of a killed server, and its own words on stderr', async () => {
    const running = start(['run', '--direct', ...pond()]);
    running.send(initialize);
    await running.reply(1);
    running.send(callTool(2, 'die'));
    const ended = await running.end();
    assert.equal(ended.code, 137, ended.stderr);
    assert.match(ended.stderr, /about to be killed/);
    await nothingLeft();
  });
  await check('exit code of the server', async () => {
    const ended = await verb(['run', ...pond(['--env', 'MISBEHAVE=exit3'])]);
    assert.equal(ended.code, 3, ended.stderr);
    assert.equal(ended.stdout, '');
  });
  await check('a command that is not there: 127 and its name', async () => {
    const ended = await verb(['run', '--', 'no-such-program-here', 'x']);
    assert.equal(ended.code, 127, ended.stderr);
    assert.match(ended.stderr, /no-such-program-here/);
    assert.equal(ended.stdout, '');
    await nothingLeft();
  });
  await check('a crash in the first second: the last words and the code', async () => {
    const ended = await start(['run', ...pond(['--env', 'MISBEHAVE=crash'])]).end();
    assert.equal(ended.code, 1, ended.stderr);
    assert.match(ended.stderr, /RuntimeError: the pond is empty/);
    assert.match(ended.stderr, /mcpbox: the server ended: /);
    assert.equal(ended.stdout, '');
  });
  await check('a helper that outlives its server does not keep the sandbox', async () => {
    const session = await connect(pond());
    assert.match(textOf(await session.call('spawn')), /^\d+$/);
    assert.deepEqual(await session.close(), { code: 0, signal: null });
    await nothingLeft();
  });
}
