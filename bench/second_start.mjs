// How long a server with ten real dependencies takes to its first answer once they are installed: the bare interpreter with the same packages on this
// machine, `mcpbox run` (a new process and a new sandbox each time), and a server of a daemon that is restarted in its sandbox. No network is used.
//
//   node bench/second_start.mjs [ROUNDS]        MCPBOX_BIN: the mcpbox to measure; python3 with venv, pip and an index are needed once
//
// Prints the median of each in milliseconds, and the phases of the daemon's start.
import { execFileSync, spawn } from 'node:child_process';
import { cpSync, mkdtempSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const repository = dirname(dirname(fileURLToPath(import.meta.url)));
const mcpbox = process.env.MCPBOX_BIN ?? `${repository}/build/release/bin/mcpbox`;
const rounds = Number(process.argv[2] ?? 7);
if (process.argv.length > 3 || !(rounds > 0)) {
  const help = ['--help', '-h'].includes(process.argv[2]);
  console[help ? 'log' : 'error'](`usage: node bench/second_start.mjs [ROUNDS]
         ROUNDS of each (7). MCPBOX_BIN: the mcpbox to measure; python3 with venv, pip and an index are needed once.
         Prints the median of each in milliseconds, and the phases of the daemon's start.`);
  process.exit(help ? 0 : 2);
}
const ten = ['requests', 'httpx', 'pydantic', 'jinja2', 'pyyaml', 'click', 'rich', 'python-dateutil', 'tenacity', 'tomlkit'];
const imports = ['requests', 'httpx', 'pydantic', 'jinja2', 'yaml', 'click', 'rich', 'dateutil', 'tenacity', 'tomlkit'].join(',');

const work = mkdtempSync(join(tmpdir(), 'mcpbox-bench-'));
const project = `${work}/project`;
mkdirSync(project);
for (const name of ['state', 'run']) mkdirSync(`${work}/${name}`, { mode: 0o700 });
execFileSync('chmod', ['755', work]);
writeFileSync(`${project}/requirements.txt`, `${ten.join('\n')}\n`);
cpSync(`${repository}/tests/e2e/servers/needs.py`, `${project}/server.py`);
const env = { ...process.env, MCPBOX_STATE_DIR: `${work}/state`, MCPBOX_RUN_DIR: `${work}/run`, NEEDS: imports };
const initialize = `${JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'initialize', params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'bench', version: '1' } } })}\n`;

function firstAnswer(command, args) {
  return new Promise((resolve, reject) => {
    const began = performance.now();
    const child = spawn(command, args, { env, stdio: ['pipe', 'pipe', 'pipe'] });
    let took = 0;
    let said = '';
    child.stderr.on('data', (bytes) => (said += bytes));
    child.stdin.on('error', () => {});
    child.stdout.once('data', () => {
      took = performance.now() - began;
      child.stdin.end();
    });
    child.on('error', reject);
    child.on('close', (code) => (took > 0 ? resolve(took) : reject(new Error(`${command} ended with ${code}: ${said}`))));
    child.stdin.write(initialize);
  });
}

const median = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];
async function measure(command, args) {
  const took = [];
  for (let round = 0; round < rounds; ++round) took.push(await firstAnswer(command, args));
  return median(took);
}
const verb = (...args) => execFileSync(mcpbox, args, { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });

let daemon;
try {
  const venv = `${work}/venv`;
  execFileSync('python3', ['-m', 'venv', venv]);
  execFileSync(`${venv}/bin/pip`, ['install', '-q', ...ten]);
  const inBox = (...mode) => ['run', ...mode, '--stage', project, '--env', 'NEEDS', '--', 'python', `${project}/server.py`];
  const first = await firstAnswer(mcpbox, inBox());
  const offline = inBox('--install-mode', 'offline');
  await firstAnswer(`${venv}/bin/python`, [`${project}/server.py`]);

  const bare = await measure(`${venv}/bin/python`, [`${project}/server.py`]);
  const run = await measure(mcpbox, offline);

  writeFileSync(`${work}/mcpbox.yaml`, `version: 1\nbox: {install_mode: offline}\nworkspace:\n  allowed_roots: [${work}]\nservers:\n  ten: {command: python, args: [server.py], env: {NEEDS: "${imports}"}, box: {host_path: ${project}}}\n`);
  daemon = spawn(mcpbox, ['serve', '-c', `${work}/mcpbox.yaml`], { env, stdio: 'ignore' });
  verb('ps', '--wait', '60');
  const phases = {};
  const sums = [];
  for (let round = 0; round < rounds; ++round) {
    const view = JSON.parse(verb('restart', 'ten', '--format', 'json'));
    if (view.state !== 'connected') throw new Error(view.error);
    sums.push(view.phases.reduce((sum, one) => sum + one.ms, 0));
    for (const one of view.phases) (phases[one.phase] ??= []).push(one.ms);
  }
  const show = (name, value, note = '') => console.log(`${name.padEnd(46)} ${value.toFixed(0).padStart(6)} ms${note}`);
  show('first start, with installation', first);
  show('bare interpreter, first answer', bare);
  show('mcpbox run, second start, first answer', run, `  (+${(run - bare).toFixed(0)})`);
  show('daemon, server started again until connected', median(sums), `  (+${(median(sums) - bare).toFixed(0)})`);
  console.log(`  ${Object.entries(phases).map(([name, all]) => `${name} ${median(all)}`).join(', ')}`);
} finally {
  try {
    verb('down', '--volumes');
  } catch {}
  daemon?.kill('SIGKILL');
  rmSync(work, { recursive: true, force: true });
}
