// Nothing may be left behind: no container, no process of the host, nothing in the run directory.
import { readdirSync } from 'node:fs';
import { until } from './check.mjs';
import { containers } from './engine.mjs';
import { hostProcesses, runDir } from './mcpbox.mjs';

async function leftovers() {
  const left = [];
  for (const container of await containers()) left.push(`container ${container.Names?.[0]} (${container.State}, ${container.Status})`);
  for (const process of hostProcesses()) left.push(`process ${process}`);
  for (const name of readdirSync(runDir)) left.push(`${runDir}/${name}`);
  return left;
}

// Polls: an engine removes what ended by itself a moment later.
export async function nothingLeft(milliseconds = 30_000) {
  let left = [];
  try {
    await until('nothing is left behind', async () => (left = await leftovers()).length === 0, milliseconds);
  } catch (error) {
    throw new Error(`${error.message}; left:\n  ${left.join('\n  ')}`);
  }
}
