// Installations of every kind for real: each is planned, installed, and the program starts with what was installed and nothing of the host's.
import { assert, begin, check } from '../support/check.mjs';
import { projects, writeProject } from '../support/projects.mjs';
import { verb, work } from '../support/mcpbox.mjs';

// A few at once: they wait for registries most of the time.
async function several(tasks, at_once) {
  const next = tasks[Symbol.iterator]();
  const worker = async () => {
    for (const task of next) await task();
  };
  await Promise.all(Array.from({ length: at_once }, worker));
}

async function kinds() {
  await several(projects.map(([name, files, command, options = {}], index) => () => check(name, async () => {
    const folder = `${work}/kinds/${index}`;
    writeProject(folder, files, options.executable);
    const argv = command.map((word) => word.replace('{P}', folder));
    const staged = Object.keys(files).length > 0 ? ['--stage', folder] : [];
    const ended = await verb(['run', '--install-mode', options.mode ?? 'open', ...staged, '--', ...argv], { milliseconds: 140_000 });
    const printed = ended.stdout + ended.stderr;
    assert.equal(ended.code, 0, printed);
    assert.match(printed, options.says ?? /^ok /m);
  })), 4);
}

export default async function run() {
  begin('installs');
  await kinds();
}
