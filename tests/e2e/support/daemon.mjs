// `mcpbox serve` of this test run, and what its servers are doing.
import { json, start, verb } from './mcpbox.mjs';
import { until } from './check.mjs';

export async function serve(config, options = {}) {
  const daemon = start(['serve', '-c', config], options);
  daemon.child.stdin.end();
  await daemon.says(/listening on/, 120_000);
  return daemon;
}

// Waits until every server is connected, stopped or failed.
export async function settled(seconds = 240) {
  const ended = await verb(['ps', '--wait', String(seconds), '--format', 'json'], { milliseconds: (seconds + 10) * 1000 });
  const list = JSON.parse(ended.stdout).servers;
  return { code: ended.code, servers: Object.fromEntries(list.map((server) => [server.name, server])) };
}

export async function connected(...names) {
  const { servers } = await settled();
  for (const name of names) {
    const server = servers[name];
    if (server?.state !== 'connected') throw new Error(`${name} is ${server?.state} (${server?.phase}): ${server?.error}`);
  }
  return servers;
}

export async function server(name) {
  return (await json(['ps'])).servers.find((entry) => entry.name === name);
}

// Connected again after `before` (an earlier server()).
export function restarted(before) {
  return until(`${before.name} is back`, async () => {
    const now = await server(before.name);
    return now.state === 'connected' && now.restarts > before.restarts ? now : null;
  }, 60_000);
}
