// Folders of the host with the reference file server: copied, mounted, refused.
import { chownSync, existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { assert, begin, check } from '../support/check.mjs';
import { nothingLeft } from '../support/leftovers.mjs';
import { connect, textOf, verb, work } from '../support/mcpbox.mjs';

const root = process.getuid() === 0;
const owner = root ? 12345 : process.getuid();
const files = (dir) => ['--', 'npx', '-y', '@modelcontextprotocol/server-filesystem', dir];

function folder(name, uid) {
  const dir = `${work}/${name}`;
  mkdirSync(dir);
  writeFileSync(`${dir}/hello.txt`, 'hello from the host\n');
  if (root) {
    chownSync(dir, uid, uid);
    chownSync(`${dir}/hello.txt`, uid, uid);
  }
  return dir;
}

async function withFiles(options, dir, body) {
  const session = await connect([...options, ...files(dir)]);
  try {
    await body(session);
  } finally {
    await session.close();
  }
  await nothingLeft();
}

export default async function run() {
  begin('folders');
  await check('--stage shows a copy at the same path; writes stay in it', async () => {
    const dir = folder('staged', owner);
    await withFiles(['--stage', dir], dir, async (session) => {
      assert.ok(textOf(await session.call('list_allowed_directories')).includes(dir));
      assert.match(textOf(await session.call('read_text_file', { path: `${dir}/hello.txt` })), /hello from the host/);
      const written = await session.call('write_file', { path: `${dir}/new.txt`, content: 'from the sandbox' });
      assert.ok(!written.isError, textOf(written));
      assert.match(textOf(await session.call('read_text_file', { path: `${dir}/new.txt` })), /from the sandbox/);
      await session.call('write_file', { path: `${dir}/hello.txt`, content: 'changed' });
    });
    assert.deepEqual(readdirSync(dir), ['hello.txt']);
    assert.equal(readFileSync(`${dir}/hello.txt`, 'utf8'), 'hello from the host\n');
  }, 240_000);
  await check('--mount DIR:rw: writes arrive and belong to the owner of the folder', async () => {
    const dir = folder('writable', owner);
    await withFiles(['--mount', `${dir}:rw`], dir, async (session) => {
      const written = await session.call('write_file', { path: `${dir}/new.txt`, content: 'from the sandbox' });
      assert.ok(!written.isError, textOf(written));
    });
    assert.equal(readFileSync(`${dir}/new.txt`, 'utf8'), 'from the sandbox');
    assert.equal(statSync(`${dir}/new.txt`).uid, owner);
  });
  await check('--mount DIR is read-only', async () => {
    const dir = folder('readable', owner);
    await withFiles(['--mount', dir], dir, async (session) => {
      assert.match(textOf(await session.call('read_text_file', { path: `${dir}/hello.txt` })), /hello from the host/);
      const written = await session.call('write_file', { path: `${dir}/new.txt`, content: 'no' });
      assert.ok(written.isError, 'the write was not refused');
    });
    assert.deepEqual(readdirSync(dir), ['hello.txt']);
  });
  await check('a folder of root is not mounted writable', async () => {
    const dir = root ? folder('roots', 0) : '/usr/share/misc';
    const ended = await verb(['run', '--mount', `${dir}:rw`, ...files(dir)]);
    assert.equal(ended.code, 125, ended.stderr);
    assert.match(ended.stderr, /belongs to user 0 and group 0, and a server runs neither as user 0/);
    assert.match(ended.stderr, /chown|--stage/);
    await nothingLeft();
  });
  await check('an argument that names a folder which is not shown gets a hint', async () => {
    const dir = folder('unseen', owner);
    const ended = await verb(['run', '--', 'ls', dir]);
    assert.notEqual(ended.code, 0);
    assert.match(ended.stderr, /hint: .*--stage/);
    assert.match(ended.stderr, /hint: .*--mount/);
    assert.ok(ended.stderr.includes(dir), ended.stderr);
    await nothingLeft();
  });
  await check('a folder that does not exist is named', async () => {
    const ended = await verb(['run', '--stage', `${work}/nowhere`, '--', 'true']);
    assert.equal(ended.code, 2, ended.stderr);
    assert.ok(ended.stderr.includes(`${work}/nowhere`), ended.stderr);
    assert.ok(!existsSync(`${work}/nowhere`));
  });
}
