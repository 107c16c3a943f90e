// Starts mcpbox in the directories of this test run, raw or with the official client, and looks what it left behind.
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { readFileSync, readdirSync } from 'node:fs';
import { until, within } from './check.mjs';

export const work = process.env.E2E_WORK;
export const mcpbox = process.env.E2E_MCPBOX;
export const repository = process.env.E2E_REPOSITORY;
export const stateDir = `${work}/state`;
export const runDir = `${work}/run`;
export const servers = `${repository}/tests/e2e/servers`;

const require = createRequire(`${process.env.E2E_CLIENT}/`);
const { Client } = require('@modelcontextprotocol/sdk/client/index.js');
const { StdioClientTransport } = require('@modelcontextprotocol/sdk/client/stdio.js');

export const environment = { ...process.env, MCPBOX_STATE_DIR: stateDir, MCPBOX_RUN_DIR: runDir };
const children = new Set();

export function killOwnProcesses() {
  for (const child of children) child.kill('SIGKILL');
}

// A raw run: every byte of stdout and stderr, and how it ended ({code, signal}).
export function start(args, { env = {}, cwd = work } = {}) {
  const child = spawn(mcpbox, args, { env: { ...environment, ...env }, cwd, stdio: ['pipe', 'pipe', 'pipe'] });
  children.add(child);
  const run = { child, stderr: '', chunks: [], stdout: () => Buffer.concat(run.chunks) };
  child.stdin.on('error', () => {}); // it may end before it read everything
  child.stderr.setEncoding('utf8').on('data', (text) => (run.stderr += text));
  child.stdout.on('data', (bytes) => run.chunks.push(bytes));
  run.ended = new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => {
      children.delete(child);
      resolve({ code, signal });
    });
  });
  run.send = (message) => child.stdin.write(`${JSON.stringify(message)}\n`);
  run.messages = () => run.stdout().toString('utf8').split('\n').slice(0, -1).map((line) => JSON.parse(line));
  run.reply = (id, milliseconds = 120_000) =>
    until(`an answer to request ${id}`, () => {
      const found = run.messages().find((message) => message.id === id && !message.method);
      if (!found && child.exitCode !== null) throw new Error(`it ended with ${child.exitCode} without an answer to request ${id}`);
      return found;
    }, milliseconds).catch((error) => {
      throw new Error(`${error.message}; its stderr:\n${run.stderr.slice(-4000)}`);
    });
  run.says = (pattern, milliseconds = 120_000) =>
    until(`${pattern} on stderr`, () => {
      if (child.exitCode !== null && !pattern.test(run.stderr)) throw new Error('it ended');
      return pattern.exec(run.stderr);
    }, milliseconds).catch((error) => {
      throw new Error(`${error.message}; its stderr:\n${run.stderr}`);
    });
  run.end = async (milliseconds = 30_000) => ({ ...(await within(milliseconds, 'its end', run.ended)), stderr: run.stderr, stdout: run.stdout().toString('utf8') });
  return run;
}

// Runs a verb to its end, without input.
export async function verb(args, options = {}) {
  const run = start(args, options);
  run.child.stdin.end();
  const milliseconds = options.milliseconds ?? 60_000;
  const ended = await run.end(milliseconds).catch((error) => {
    run.child.kill('SIGKILL');
    throw new Error(`mcpbox ${args.join(' ')}: ${error.message}\n${run.stderr}`);
  });
  return ended;
}

export async function json(args, options) {
  const ended = await verb([args[0], '--format', 'json', ...args.slice(1)], options);
  if (ended.code !== 0) throw new Error(`mcpbox ${args.join(' ')}: exit code ${ended.code}: ${ended.stderr}`);
  return JSON.parse(ended.stdout);
}

export const initialize = {
  jsonrpc: '2.0', id: 1, method: 'initialize',
  params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'mcpbox-e2e', version: '1' } },
};
export const initialized = { jsonrpc: '2.0', method: 'notifications/initialized' };
export const callTool = (id, name, args = {}) => ({ jsonrpc: '2.0', id, method: 'tools/call', params: { name, arguments: args } });

// The official client over `mcpbox run ARGS…`. `garbage` collects what it could not read: must stay empty.
export async function connect(args, { env = {}, cwd = work } = {}) {
  const transport = new StdioClientTransport({ command: mcpbox, args: ['run', ...args], env: { ...environment, ...env }, cwd, stderr: 'pipe' });
  const client = new Client({ name: 'mcpbox-e2e', version: '1' });
  const session = { client, transport, stderr: '', garbage: [] };
  transport.stderr.setEncoding('utf8').on('data', (text) => (session.stderr += text));
  client.onerror = (error) => {
    // Progress that comes in one read with its result: the client has forgotten the token by then, with any server.
    if (!/progress notification for an unknown token/.test(String(error))) session.garbage.push(String(error));
  };
  try {
    await client.connect(transport, { timeout: 120_000 });
  } catch (error) {
    throw new Error(`connecting failed: ${error.message}\n${session.stderr}`);
  }
  // The transport says that the process ended, not how; and it forgets it when it is closed.
  const child = transport._process;
  children.add(child);
  session.ended = new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve({ code: child.exitCode, signal: child.signalCode });
    child.on('close', (code, signal) => {
      children.delete(child);
      resolve({ code, signal });
    });
  });
  session.close = async () => {
    await client.close();
    return within(30_000, 'the end of mcpbox run', session.ended);
  };
  session.call = (name, args = {}, options = {}) => client.callTool({ name, arguments: args }, undefined, { timeout: 60_000, ...options });
  return session;
}

export async function allTools(client) {
  const tools = [];
  let cursor;
  do {
    const page = await client.listTools(cursor === undefined ? {} : { cursor });
    tools.push(...page.tools);
    cursor = page.nextCursor;
  } while (cursor !== undefined);
  return tools;
}

export const textOf = (result) => result.content.filter((block) => block.type === 'text').map((block) => block.text).join('\n');

// Host processes of this test run: whoever has its state directory in the environment.
export function hostProcesses() {
  const found = [];
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      if (!readFileSync(`/proc/${pid}/environ`, 'latin1').includes(`MCPBOX_STATE_DIR=${stateDir}\0`)) continue;
      const state = /^State:\s+(\S)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
      if (state !== 'Z') found.push(`${pid} ${readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ').slice(0, 120)}`);
    } catch {
      // it ended meanwhile, or is another user's
    }
  }
  return found;
}
