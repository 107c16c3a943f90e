// The official TypeScript client and the reference server of the protocol, once through the relay and once with --direct.
import { assert, begin, check } from '../support/check.mjs';
import { nothingLeft } from '../support/leftovers.mjs';
import { allTools, connect, textOf } from '../support/mcpbox.mjs';

const command = ['--', 'npx', '-y', '@modelcontextprotocol/server-everything'];

async function everything(options) {
  let session;
  await check('initialize', async () => {
    session = await connect([...options, ...command]);
    assert.match(session.client.getServerVersion().name, /everything/);
    assert.ok(session.client.getServerCapabilities().tools);
  }, 240_000);
  if (!session) return;
  const { client } = session;

  await check('all tools', async () => {
    const names = (await allTools(client)).map((tool) => tool.name);
    for (const name of ['echo', 'get-sum', 'trigger-long-running-operation']) assert.ok(names.includes(name), `${name} is not among ${names}`);
    return `${names.length} tools`;
  });
  await check('calls, text as it was written', async () => {
    const message = 'Grüße 🎉 \u2028 "quoted" \\ \u0000 end';
    assert.equal(textOf(await session.call('echo', { message })), `Echo: ${message}`);
    assert.match(textOf(await session.call('get-sum', { a: 2, b: 3 })), /\b5\b/);
  });
  await check('many calls at once, each gets its own answer', async () => {
    const numbers = Array.from({ length: 200 }, (_, i) => i);
    const replies = await Promise.all(numbers.map((i) => session.call('echo', { message: `number ${i}` })));
    assert.deepEqual(replies.map(textOf), numbers.map((i) => `Echo: number ${i}`));
  });
  await check('a result of 3 MiB', async () => {
    const message = 'ä€z'.repeat(512 << 10);
    assert.ok(textOf(await session.call('echo', { message })) === `Echo: ${message}`, 'the text came back changed');
  });
  await check('progress of a long-running tool', async () => {
    const seen = [];
    const result = await session.call('trigger-long-running-operation', { duration: 1, steps: 4 }, { onprogress: (progress) => seen.push(progress.progress) });
    // The client drops the last one when it comes in one read with the result.
    assert.deepEqual(seen, [1, 2, 3, 4].slice(0, Math.max(3, seen.length)));
    assert.match(textOf(result), /completed/i);
  });
  await check('cancellation leaves the session usable', async () => {
    const cancel = new AbortController();
    const call = session.call('trigger-long-running-operation', { duration: 1, steps: 20 }, {
      signal: cancel.signal,
      onprogress: () => cancel.abort('no longer wanted'),
    });
    await assert.rejects(call, /no longer wanted/);
    assert.equal(textOf(await session.call('echo', { message: 'still here' })), 'Echo: still here');
  });
  await check('clean end, nothing left', async () => {
    const unread = [...session.garbage];
    const ended = await session.close();
    assert.deepEqual(ended, { code: 0, signal: null });
    assert.deepEqual(unread, []);
    await nothingLeft();
  });
}

export default async function run() {
  begin('client');
  await everything([]);
  begin('client --direct');
  await everything(['--direct']);
}
