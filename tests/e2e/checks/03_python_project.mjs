// A Python project whose requirements.txt is really installed, once; the second start needs no index.
import { realpathSync } from 'node:fs';
import { assert, begin, check } from '../support/check.mjs';
import { nothingLeft } from '../support/leftovers.mjs';
import { connect, repository, textOf } from '../support/mcpbox.mjs';

const project = realpathSync(`${repository}/examples/greeter`);
const command = ['-v', '--stage', project, '--', 'python', 'server.py'];

async function greet(env) {
  const session = await connect(command, { env });
  assert.equal(textOf(await session.call('greet', { name: 'Ada' })), 'Hello, Ada!');
  const where = JSON.parse(textOf(await session.call('where_am_i')));
  assert.equal(where.cwd, project);
  assert.notEqual(where.uid, 0);
  assert.ok(where.files.includes('server.py'));
  const ended = await session.close();
  assert.deepEqual(ended, { code: 0, signal: null });
  await nothingLeft();
  return session.stderr;
}

export default async function run() {
  begin('python');
  await check('requirements.txt is installed, the server starts in its folder', async () => {
    assert.match(await greet({}), /install/);
  }, 300_000);
  await check('the second start needs no index', async () => {
    // Not another index: what comes from there is another environment.
    const nowhere = 'http://127.0.0.1:9';
    const again = await greet({ HTTP_PROXY: nowhere, HTTPS_PROXY: nowhere, https_proxy: nowhere });
    assert.doesNotMatch(again, /mcpbox: {3}install/);
  });
}
