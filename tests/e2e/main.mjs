// Runs checks/*.mjs in the order of their names, in one process and one after another: they share an engine and its environments.
import { readdirSync } from 'node:fs';
import { summary } from './support/check.mjs';
import { killOwnProcesses } from './support/mcpbox.mjs';

const wanted = process.argv.slice(2).map((number) => number.padStart(2, '0'));
const folder = new URL('./checks/', import.meta.url);
const files = readdirSync(folder).filter((name) => name.endsWith('.mjs')).sort();

process.on('SIGTERM', () => {
  killOwnProcesses();
  process.exit(143);
});
// The client of a server that just died may still be writing.
process.on('unhandledRejection', (error) => console.log(`     (unhandled: ${error?.message ?? error})`));

for (const file of files) {
  if (wanted.length > 0 && !wanted.includes(file.slice(0, 2))) continue;
  const { default: run } = await import(new URL(file, folder));
  await run();
}
killOwnProcesses();
process.exit(summary());
