// Real Node programs of the versions that servers run on, by the npm packages that carry them; installed once below build/.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { repository } from './mcpbox.mjs';

const kVersions = { 18: '18.20.8', 20: '20.20.2', 22: '22.23.3' };
// What programs reach the network with; the last axios that asks a proxy for https:// without CONNECT.
const kLibraries = ['axios@1.7.9', 'undici@6.29.1'];

export const nodeFolder = process.env.E2E_NODE_DIR ?? `${repository}/build/e2e-node`;

// {18: '/…/bin/node', …}
export function nodeVersions() {
  const wanted = [...Object.entries(kVersions).map(([major, version]) => `node${major}@npm:node-linux-${process.arch}@${version}`), ...kLibraries];
  const stamp = `${nodeFolder}/installed-${wanted.join('_').replace(/[^\w.-]/g, '_')}`;
  if (!existsSync(stamp)) {
    mkdirSync(nodeFolder, { recursive: true });
    execFileSync('npm', ['install', '--prefix', nodeFolder, '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error', ...wanted], { stdio: ['ignore', 2, 2] });
    writeFileSync(stamp, '');
  }
  return Object.fromEntries(Object.keys(kVersions).map((major) => [major, `${nodeFolder}/node_modules/node${major}/bin/node`]));
}
