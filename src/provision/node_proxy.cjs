// Loaded by mcpbox into every Node process in a sandbox: makes http, https and the global fetch() use the proxy that HTTPS_PROXY names, by
// CONNECT for both schemes. NODE_USE_ENV_PROXY does so from 22.21 and 24.5 on, but not for the agents that a program makes for itself.
'use strict';
(() => {
  const [major, minor] = process.versions.node.split('.').map(Number);
  const builtin = major > 24 || (major === 24 && minor >= 5) || (major === 22 && minor >= 21);
  const text = process.env.HTTPS_PROXY || process.env.https_proxy;
  if (!text) return;
  let proxy;
  try {
    proxy = new URL(text);
  } catch {
    return;
  }
  if (proxy.protocol !== 'http:') return;
  if (builtin) {
    // Node warns on every start that its proxy agent is experimental; mcpbox asked for it, not the server.
    const emit = process.emit;
    process.emit = function (event, warning, ...more) {
      if (event !== 'warning' || !warning || warning.code !== 'UNDICI-EHPA') return emit.call(this, event, warning, ...more);
      process.emit = emit;
      return false;
    };
  }
  const http = require('node:http');
  const https = require('node:https');
  const net = require('node:net');
  const tls = require('node:tls');

  // axios asks a proxy for "GET https://…", which would show the proxy what TLS hides and which ours refuses: it is made a request to the host itself.
  const request = http.request;
  http.request = function (options, ...more) {
    const meant = options !== null && typeof options === 'object' && !(options instanceof URL) && typeof options.path === 'string' &&
      /^https:\/\//i.test(options.path) && (options.hostname || options.host) === proxy.hostname && Number(options.port) === Number(proxy.port);
    if (!meant) return request.apply(this, arguments);
    const url = new URL(options.path);
    const headers = { ...options.headers };
    for (const name of Object.keys(headers)) if (name.toLowerCase() === 'proxy-authorization') delete headers[name];
    const agent = options.agent instanceof https.Agent ? options.agent : (options.agents && options.agents.https) || undefined;
    return https.request({ ...options, headers, agent, protocol: 'https:', host: url.hostname, hostname: url.hostname,
      port: url.port || 443, path: url.pathname + url.search, auth: undefined }, ...more);
  };
  const kMaxHead = 16384;
  const kHandshakeMs = 30000;
  const credential = proxy.username
    ? 'Proxy-Authorization: Basic ' +
      Buffer.from(decodeURIComponent(proxy.username) + ':' + decodeURIComponent(proxy.password)).toString('base64') + '\r\n'
    : '';
  const direct = (process.env.NO_PROXY || process.env.no_proxy || '').toLowerCase().split(',').map((s) => s.trim().replace(/^\*?\./, '')).filter(Boolean);

  function goesDirect(host) {
    const name = String(host || 'localhost').toLowerCase().replace(/^\[|\]$/g, '');
    if (name === 'localhost' || name === '::1' || /^127\./.test(name)) return true;
    return direct.some((entry) => entry === '*' || name === entry || name.endsWith('.' + entry));
  }

  function refused(target, head, body) {
    const status = (head.split('\r\n', 1)[0] || '').replace(/^HTTP\/\d\.\d\s*/, '');
    const reason = body.split('\n', 1)[0].trim();
    const error = new Error(`the proxy of the sandbox refused ${target}: ${status}${reason ? ': ' + reason : ''}`);
    error.code = 'ERR_PROXY_REFUSED';
    return error;
  }

  // Calls done(error) or done(null, socket) once, with a socket that reaches host:port.
  function tunnel(host, port, done) {
    const target = (net.isIPv6(host) ? `[${host}]` : host) + ':' + port;
    const socket = net.connect({ host: proxy.hostname, port: Number(proxy.port) || 80 });
    let bytes = Buffer.alloc(0);
    let timer;
    const finish = (error) => {
      clearTimeout(timer);
      socket.removeListener('data', read);
      socket.removeListener('end', ended);
      socket.removeListener('error', finish);
      if (error) {
        socket.on('error', () => {});
        socket.destroy();
        return done(error);
      }
      socket.pause();
      done(null, socket);
    };
    const judge = (end, over) => {
      const head = bytes.toString('latin1', 0, end);
      if (/^HTTP\/1\.[01] 200\b/.test(head)) {
        if (bytes.length > end + 4) socket.unshift(bytes.subarray(end + 4));
        return finish();
      }
      const length = Number((/\r\ncontent-length:\s*(\d+)/i.exec(head) || [])[1] || 0);
      const body = bytes.subarray(end + 4);
      if (over || body.length >= Math.min(length, kMaxHead)) finish(refused(target, head, body.toString('utf8')));
    };
    const read = (piece) => {
      bytes = Buffer.concat([bytes, piece]);
      const end = bytes.indexOf('\r\n\r\n');
      if (end >= 0) return judge(end, bytes.length > 2 * kMaxHead);
      if (bytes.length > kMaxHead) finish(new Error(`the proxy of the sandbox answered CONNECT ${target} with something that is not HTTP`));
    };
    const ended = () => {
      const end = bytes.indexOf('\r\n\r\n');
      if (end >= 0) judge(end, true);
      else finish(new Error(`the proxy of the sandbox closed the connection to ${target}`));
    };
    timer = setTimeout(() => finish(new Error(`the proxy of the sandbox did not answer for ${target}`)), kHandshakeMs);
    socket.on('data', read);
    socket.on('end', ended);
    socket.on('error', finish);
    socket.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${credential}\r\n`);
  }

  function proxied(module, port, secure) {
    const original = module.Agent.prototype.createConnection;
    return function createConnection(options, done) {
      if ((builtin && !secure && this === module.globalAgent) || options === null || typeof options !== 'object' || typeof done !== 'function' || options.path || options.socketPath ||
          options.socket || goesDirect(options.host || options.hostname)) {
        return original.apply(this, arguments);
      }
      const host = options.host || options.hostname;
      tunnel(host, options.port || port, (error, socket) => {
        if (error) return done(error);
        if (!secure) {
          socket.resume();
          return done(null, socket);
        }
        const servername = options.servername !== undefined ? options.servername : net.isIP(host) ? '' : host;
        done(null, tls.connect({ ...options, socket, servername, path: undefined }));
      });
    };
  }
  // The prototypes, so that agents which a program makes for itself take the same way; a program's own proxy agent does not come here.
  http.Agent.prototype.createConnection = proxied(http, 80, false);
  https.Agent.prototype.createConnection = proxied(https, 443, true);

  const fetch = globalThis.fetch;
  if (builtin || typeof fetch !== 'function') return;
  const kDispatcher = Symbol.for('undici.globalDispatcher.1');
  function connect(options, done) {
    const host = options.hostname;
    const secure = options.protocol === 'https:';
    const port = Number(options.port) || (secure ? 443 : 80);
    const shake = (socket, name) => {
      const over = tls.connect({ ...(socket ? { socket } : { host, port }), servername: name, ALPNProtocols: ['http/1.1'] });
      over.once('error', done);
      over.once('secureConnect', () => {
        over.removeListener('error', done);
        done(null, over);
      });
    };
    const name = options.servername || (net.isIP(host) ? '' : host);
    if (goesDirect(host)) {
      if (secure) return shake(null, name);
      const socket = net.connect({ host, port });
      socket.once('error', done);
      socket.once('connect', () => {
        socket.removeListener('error', done);
        done(null, socket);
      });
      return;
    }
    tunnel(host, port, (error, socket) => {
      if (error) return done(error);
      if (secure) return shake(socket, name);
      done(null, socket);
    });
  }
  // fetch() is loaded with its first use; before that there is no dispatcher to replace, and loading it costs every start.
  function loadAndFetch(...args) {
    void globalThis.Response;
    const current = globalThis[kDispatcher];
    // A program that set a dispatcher of its own knows what it wants.
    if (current && current.constructor && current.constructor.name === 'Agent' && !current[kOurs]) {
      const ours = new current.constructor({ connect });
      ours[kOurs] = true;
      globalThis[kDispatcher] = ours;
    }
    if (globalThis.fetch === loadAndFetch) globalThis.fetch = fetch;
    return fetch.apply(this, args);
  }
  const kOurs = Symbol('mcpbox');
  Object.defineProperty(loadAndFetch, 'name', { value: 'fetch' });
  globalThis.fetch = loadAndFetch;
})();
