// What the engine says, by its own API and not by mcpbox: containers and volumes of the instance under test.
import http from 'node:http';
import { readFileSync } from 'node:fs';
import { stateDir } from './mcpbox.mjs';

function target() {
  const address = process.env.DOCKER_HOST;
  if (address.startsWith('unix://')) return { socketPath: address.slice('unix://'.length) };
  const url = new URL(address.replace(/^tcp:/, 'http:'));
  return { host: url.hostname, port: url.port };
}

export function engine(method, path) {
  return new Promise((resolve, reject) => {
    const request = http.request({ ...target(), method, path, timeout: 20_000 }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (chunk) => (body += chunk));
      response.on('end', () => {
        if (response.statusCode >= 400) reject(new Error(`${method} ${path}: ${response.statusCode} ${body.trim()}`));
        else resolve(body === '' ? null : JSON.parse(body));
      });
    });
    request.on('error', reject);
    request.end();
  });
}

function labelFilter() {
  const id = readFileSync(`${stateDir}/instance`, 'utf8').trim();
  return encodeURIComponent(JSON.stringify({ label: [`io.mcpbox.instance=${id}`] }));
}

// Running or not.
export const containers = () => engine('GET', `/containers/json?all=1&filters=${labelFilter()}`);
export const removeContainer = (id) => engine('DELETE', `/containers/${id}?force=1`);
export const volumes = async () => (await engine('GET', `/volumes?filters=${labelFilter()}`)).Volumes ?? [];
