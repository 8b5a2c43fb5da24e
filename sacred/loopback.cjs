// Loaded before Omniboard (`node --require`), which listens on every interface, has no login, lets
// every page of the web read its answers, and can delete runs. With this it is reached from this
// machine only, and from no other page.
'use strict';

const http = require('http');
const net = require('net');

// In a container 127.0.0.1 would shut out everybody; there the published port is on loopback.
const host = process.env.OMNIBOARD_HOST || '127.0.0.1';
const NAMES = new Set(['127.0.0.1', 'localhost', '[::1]']);

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (port, ...others) {
  const ready = others.find((argument) => typeof argument === 'function');
  // Omniboard would move on to the next port in silence.
  this.prependOnceListener('error', (error) => {
    console.error(`omniboard: cannot listen on ${host}:${port} (${error.code})`);
    process.exit(1);
  });
  return listen.call(this, { host, port: Number(port) }, ready);
};

// A page elsewhere names itself as the origin, or has had its own name lead here.
function isForeign(request) {
  const asked = (request.headers.host || '').toLowerCase();
  const origin = request.headers.origin;
  return !NAMES.has(asked.replace(/:\d+$/, '')) || (origin && origin.toLowerCase() !== `http://${asked}`);
}

const createServer = http.createServer;
http.createServer = (handler) =>
  createServer((request, response) => {
    if (isForeign(request)) {
      response.writeHead(403, { 'Content-Type': 'text/plain' });
      response.end('Open Omniboard as http://localhost: no other name, and no other page.\n');
      return;
    }
    handler(request, response);
  });
