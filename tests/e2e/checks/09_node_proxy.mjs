// What Node programs do with the proxy variables of a sandbox and the text that mcpbox loads into them: each version, each way to ask.
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { assert, begin, check } from '../support/check.mjs';
import { repository, work } from '../support/mcpbox.mjs';
import { nodeFolder, nodeVersions } from '../support/node_versions.mjs';

// Runs in every version; prints one JSON object.
const kProgram = `
const http = require('node:http'), https = require('node:https');
const axios = require('${nodeFolder}/node_modules/axios/dist/node/axios.cjs');
const undici = require('${nodeFolder}/node_modules/undici');
const early = fetch;
const get = (module, url, options = {}) => new Promise((resolve) => {
  const request = module.get(url, options, (answer) => {
    let body = '';
    answer.on('data', (piece) => (body += piece)).on('end', () => resolve(answer.statusCode + ' ' + body));
  });
  request.on('error', (error) => resolve('error: ' + error.message));
});
const text = (promise) => promise.then((answer) => answer.text(), (error) => 'error: ' + (error.cause || error).message);
(async () => {
  const out = {
    https: await get(https, 'https://allowed.test/a'),
    http: await get(http, 'http://allowed.test/b'),
    refused: await get(https, 'https://refused.test/'),
    own_http_agent: await get(http, 'http://allowed.test/j', { agent: new http.Agent({ keepAlive: true }) }),
    own_agent: await get(https, 'https://allowed.test/c', { agent: new https.Agent({ keepAlive: true }) }),
    fetch: await text(fetch('https://allowed.test/d')),
    fetch_http: await text(fetch('http://allowed.test/e')),
    fetch_refused: await text(fetch('https://refused.test/')),
    fetch_taken_early: await text(early('https://allowed.test/f')),
    fetch_many: (await Promise.all([1, 2, 3, 4].map((n) => text(fetch('https://allowed.test/' + n))))).join(' '),
    fetch_loopback: await text(fetch('http://127.0.0.1:' + process.env.PLAIN_PORT + '/g')),
    axios: await axios.get('https://allowed.test/h').then((answer) => answer.data, (error) => 'error: ' + error.message),
    undici: await undici.request('https://allowed.test/i').then((answer) => answer.body.text(), (error) => 'error: ' + error.message),
  };
  console.log(JSON.stringify(out));
  process.exit(0);
})();
`;

const listening = (server) => new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server.address().port)));

export default async function run() {
  begin('node and the proxy');
  const folder = mkdtempSync(`${work}/node-proxy-`);
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', `${folder}/key.pem`, '-out', `${folder}/cert.pem`, '-days', '2',
    '-subj', '/CN=allowed.test', '-addext', 'subjectAltName=DNS:allowed.test'], { stdio: 'ignore' });
  writeFileSync(`${folder}/program.cjs`, kProgram);
  const secure = https.createServer({ key: readFileSync(`${folder}/key.pem`), cert: readFileSync(`${folder}/cert.pem`) },
    (request, answer) => answer.end(`tls ${request.url}`));
  const plain = http.createServer((request, answer) => answer.end(`plain ${request.url}`));
  const securePort = await listening(secure);
  const plainPort = await listening(plain);
  let credentials = new Set();
  // Answers as mcpbox's own proxy does; that one is tested in the sandbox.
  const proxy = http.createServer((request, answer) => {
    const url = new URL(request.url);
    answer.end(url.protocol === 'http:' ? `plain ${url.pathname}` : 'an https address without CONNECT');
  });
  proxy.on('connect', (request, client) => {
    credentials.add(request.headers['proxy-authorization']);
    client.on('error', () => {});
    if (!request.url.startsWith('allowed.test:')) {
      const body = `no rule allows ${request.url}\n`;
      return client.end(`HTTP/1.1 403 Blocked by mcpbox\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    }
    const server = net.connect(request.url.endsWith(':443') ? securePort : plainPort, '127.0.0.1', () => {
      client.write('HTTP/1.1 200 OK\r\n\r\n');
      server.pipe(client).pipe(server);
    });
    server.on('error', () => client.destroy());
  });
  const url = `http://server-1:${'f'.repeat(64)}@127.0.0.1:${await listening(proxy)}`;
  for (const [version, node] of Object.entries(nodeVersions())) {
    await check(`Node ${version}: http, https, fetch, axios and undici go through the proxy, and say who refused`, async () => {
      credentials = new Set();
      const env = { PATH: process.env.PATH, NODE_OPTIONS: `--require=${repository}/src/provision/node_proxy.cjs`, NODE_USE_ENV_PROXY: '1', HTTP_PROXY: url, HTTPS_PROXY: url,
        NO_PROXY: 'localhost,127.0.0.1,::1', NODE_EXTRA_CA_CERTS: `${folder}/cert.pem`, PLAIN_PORT: String(plainPort) };
      const output = await new Promise((resolve, reject) =>
        execFile(node, [`${folder}/program.cjs`], { env, timeout: 60_000 }, (error, stdout, stderr) => (error || stderr !== '' ? reject(new Error(`${error?.message}\n${stderr}`)) : resolve(stdout))));
      const { refused, fetch_refused, ...answers } = JSON.parse(output);
      assert.deepEqual(answers, { https: '200 tls /a', http: '200 plain /b', own_agent: '200 tls /c', own_http_agent: '200 plain /j', fetch: 'tls /d', fetch_http: 'plain /e', fetch_taken_early: 'tls /f',
        fetch_many: 'tls /1 tls /2 tls /3 tls /4', fetch_loopback: 'plain /g', axios: 'tls /h', undici: 'tls /i' });
      const says = /^error: .*refused\.test:443: 403 Blocked by mcpbox: no rule allows refused\.test:443/;
      assert.match(refused, says);
      assert.match(fetch_refused, version < 22 ? says : /^error: /);
      assert.deepEqual([...credentials], [`Basic ${Buffer.from(`server-1:${'f'.repeat(64)}`).toString('base64')}`]);
    });
  }
  for (const server of [secure, plain, proxy]) server.closeAllConnections(), server.close();
}
