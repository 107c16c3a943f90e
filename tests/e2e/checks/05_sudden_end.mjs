// The end of `mcpbox run` itself: killed at any moment, told to stop, or with its input closed. The sandbox always goes with it.
import { assert, begin, check } from '../support/check.mjs';
import { nothingLeft } from '../support/leftovers.mjs';
import { callTool, initialize, servers, start, textOf } from '../support/mcpbox.mjs';

const everything = ['run', '-v', '--', 'npx', '-y', '@modelcontextprotocol/server-everything'];
const pond = ['run', '-v', '--stage', servers, '--', 'python', 'pond.py'];
// Not installed by any other check, and small.
const fresh = ['run', '-v', '--', 'npx', '-y', '@modelcontextprotocol/server-memory'];

async function kill(running) {
  running.child.kill('SIGKILL');
  await running.end();
  await nothingLeft();
}

export default async function run() {
  begin('sudden end');
  await check('SIGKILL after a random time of the start, ten times', async () => {
    const delays = Array.from({ length: 10 }, () => Math.floor(Math.random() * 900));
    for (const delay of delays) {
      const running = start(everything);
      // What happens at a random moment cannot be waited for: the time itself is the test's input.
      await new Promise((resolve) => setTimeout(resolve, delay));
      running.child.kill('SIGKILL');
      await running.end();
    }
    await nothingLeft().catch((error) => {
      throw new Error(`killed after ${delays.join(', ')} ms: ${error.message}`);
    });
    return `${delays.join(', ')} ms`;
  });
  for (const [moment, args] of [
    ['making the sandbox', everything],
    ['preparing dependencies', fresh],
    ['install @modelcontextprotocol/server-memory', fresh],
    ['starting npx', everything],
  ]) {
    await check(`SIGKILL at "${moment}"`, async () => {
      const running = start(args);
      await running.says(new RegExp(moment));
      await kill(running);
    });
  }
  await check('an installation that was killed does not stand in the way of the next', async () => {
    const running = start(fresh);
    running.send(initialize);
    await running.reply(1, 120_000);
    running.child.stdin.end();
    const ended = await running.end();
    assert.equal(ended.code, 0, ended.stderr);
    await nothingLeft();
  }, 180_000);
  for (const options of [[], ['--direct']]) {
    await check(`SIGKILL while a call runs ${options}`, async () => {
      const running = start(['run', ...options, ...pond.slice(1)]);
      running.send(initialize);
      await running.reply(1);
      running.send(callTool(2, 'spawn'));
      await running.reply(2);
      running.send(callTool(3, 'hang'));
      await kill(running);
    });
    await check(`SIGTERM ends the server and takes the sandbox along ${options}`, async () => {
      const running = start(['run', ...options, ...pond.slice(1)]);
      running.send(initialize);
      await running.reply(1);
      running.child.kill('SIGTERM');
      const ended = await running.end();
      assert.equal(ended.signal, null);
      assert.ok([0, 143].includes(ended.code), `exit code ${ended.code}: ${ended.stderr}`);
      await nothingLeft();
    });
    await check(`end of input ends the server ${options}`, async () => {
      const running = start(['run', ...options, ...pond.slice(1)]);
      running.send(initialize);
      await running.reply(1);
      running.child.stdin.end();
      const ended = await running.end();
      assert.deepEqual({ code: ended.code, signal: ended.signal }, { code: 0, signal: null });
      await nothingLeft();
    });
  }
  await check('what was asked before the end of input is still answered', async () => {
    const running = start(pond);
    running.send(initialize);
    running.send(callTool(2, 'echo', { message: 'last wish' }));
    running.child.stdin.end();
    const ended = await running.end();
    assert.equal(ended.code, 0, ended.stderr);
    assert.equal(textOf(running.messages().find((message) => message.id === 2).result), 'last wish');
  });
  await check('SIGTERM during the start', async () => {
    const running = start(everything);
    await running.says(/making the sandbox/);
    running.child.kill('SIGTERM');
    const ended = await running.end();
    assert.notEqual(ended.code, 0);
    await nothingLeft();
  });
}
