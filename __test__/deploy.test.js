'use strict';

/** What stands in deploy/ and in its documentation, against the agent and the packages as they are. */

const { execFileSync, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { parseAllDocuments } = require('yaml');
const { makeCertificate } = require('../conformance/certificate');
const { agentPath } = require('../js/native');
const { PLATFORMS, packageOf } = require('../js/platforms');
const { TestAgent } = require('./support/agent');

const ROOT = path.join(__dirname, '..');
const TIMEOUT_MS = 30_000;
const AGENT = 'mediasoup-horizontal-agent';

/** @param {string[]} names */
function read(...names) {
  return fs.readFileSync(path.join(ROOT, ...names), 'utf8');
}

/** A text whose lines that end in a backslash go on in the next. @param {string} text */
function joinLines(text) {
  return text.replace(/\\\n(# )?/g, ' ');
}

/** What systemd runs. */
const UNIT = joinLines(read('deploy', `${AGENT}.service`));

/** @param {string} key @returns {string[]} Every value that the unit has for it. */
function unit(key) {
  return [...UNIT.matchAll(new RegExp(`^${key}=(.*)$`, 'gm'))].map(([, value]) => value.trim());
}

/** @type {any[]} */
const objects = parseAllDocuments(read('deploy', 'kubernetes.yaml')).map((document) => {
  if (document.errors.length > 0) {
    throw document.errors[0];
  }

  return document.toJS();
});
const pod = object('DaemonSet').spec.template.spec;
const [container] = pod.containers;

/** @param {string} kind */
function object(kind) {
  return objects.find((one) => one.kind === kind);
}

/** Every way in which deploy/ starts the agent: the arguments. @returns {[string, string[]][]} */
function starts() {
  const [, ...unitArgs] = unit('ExecStart')[0].split(/\s+/);
  const dockerLine = joinLines(read('deploy', 'Dockerfile'))
    .split('\n')
    .find((line) => line.includes('docker run'));
  const dockerArgs = /mediasoup-horizontal-agent (--listen .*)$/.exec(dockerLine ?? '')?.[1];

  return [
    ['the systemd unit', unitArgs],
    ['the Kubernetes manifest', container.args.map(expand)],
    ['the Dockerfile', (dockerArgs ?? 'none').trim().split(/\s+/)],
  ];
}

/** As the kubelet does it. @param {string} text */
function expand(text) {
  const known = container.env.map((/** @type {{ name: string }} */ { name }) => name);

  return text.replace(/\$\((\w+)\)/g, (_, name) => {
    if (!known.includes(name)) {
      throw new Error(`${text}: ${name} is not in env`);
    }

    return '127.0.0.1';
  });
}

test.each(starts())('the agent takes the arguments of %s', (_, args) => {
  expect(args.length).toBeGreaterThan(2);
  // What it does not know it refuses before it comes to the last one.
  const { status, stderr } = spawnSync(agentPath, [...args, '--help'], {
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
  });

  expect([status, stderr]).toEqual([0, '']);
});

test(
  'an agent runs with the arguments of each',
  async () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'mh-deploy-'));
    const { certificate, privateKey } = makeCertificate();
    const contents = { cert: certificate, key: privateKey, crt: certificate };

    for (const [suffix, text] of Object.entries(contents)) {
      fs.writeFileSync(path.join(folder, suffix), text, { mode: 0o600 });
    }
    try {
      for (const [, args] of starts()) {
        const text = args
          .join(' ')
          .replaceAll('=', ' ')
          .replace(/--label (\S+) /, '--label $1=');
        const own = text
          .replace(/--listen \S+/, '')
          .replace(/--token-file \S+/, '')
          .replace(/(--admin-socket) \S+/, `$1 ${path.join(folder, 'admin')}`)
          .replace(/(--metrics) \S+/, '$1 127.0.0.1:0')
          .replace(/(--tls-cert) \S+/, `$1 ${path.join(folder, 'cert')}`)
          .replace(/(--tls-key) \S+/, `$1 ${path.join(folder, 'key')}`)
          .trim();
        const agent = await TestAgent.start({ args: own.split(/\s+/) });

        expect(agent.url).toMatch(/^wss:/);
        await agent.stop();
      }
    } finally {
      fs.rmSync(folder, { recursive: true, force: true });
    }
  },
  TIMEOUT_MS,
);

test('every command that talks to a running agent exists, with the options of its agent', () => {
  const { command } = container.lifecycle.preStop.exec;
  const line = joinLines(read('docs', 'deploy.md')).match(/mediasoup-horizontal-agent (drain .*)/);
  const commands = [
    { args: command.slice(1), started: container.args.join(' ') },
    { args: (line?.[1] ?? 'none').split(/\s+/), started: unit('ExecStart')[0] },
  ];

  expect(command[0]).toBe(AGENT);
  for (const { args, started } of commands) {
    const { status, stderr } = spawnSync(agentPath, [...args, '--help'], {
      encoding: 'utf8',
      timeout: TIMEOUT_MS,
    });
    const socket = /--admin-socket[= ](\S+)/;

    expect([status, stderr]).toEqual([0, '']);
    expect(socket.exec(args.join(' '))?.[1]).toMatch(/^\/run\//);
    expect(socket.exec(args.join(' '))?.[1]).toBe(socket.exec(started)?.[1]);
  }
});

test('there is time for the drain before the agent is killed', () => {
  const timeout = Number(
    /--timeout=(\d+)/.exec(container.lifecycle.preStop.exec.command.join(' '))?.[1],
  );
  const unitDrain = Number(/--drain-on-sigterm (\d+)/.exec(unit('ExecStart')[0])?.[1]);

  expect(pod.terminationGracePeriodSeconds).toBeGreaterThan(timeout);
  expect(Number(unit('TimeoutStopSec')[0])).toBeGreaterThan(unitDrain);
});

test('Kubernetes: readiness is apart from liveness', () => {
  const port = Number(/--metrics=\S+:(\d+)/.exec(container.args.join(' '))?.[1]);
  const metrics = container.ports.find(
    (/** @type {{ name: string }} */ one) => one.name === 'metrics',
  );

  expect(metrics.containerPort).toBe(port);
  expect(container.livenessProbe.httpGet).toEqual({ path: '/healthz', port: 'metrics' });
  expect(container.readinessProbe.httpGet).toEqual({ path: '/readyz', port: 'metrics' });
});

test('every option of the agent in the documentation and in deploy/ exists', () => {
  const help = execFileSync(agentPath, ['--help'], { encoding: 'utf8', timeout: TIMEOUT_MS });
  const known = new Set(help.match(/--[a-z][a-z-]+/g));
  const agentPart = read('docs', 'deploy.md').split('## Media hosts')[1];
  const named = [...agentPart.matchAll(/`(--[a-z][a-z-]+)/g)].map(([, name]) => name);

  expect(named.length).toBeGreaterThan(4);
  expect(named.filter((name) => !known.has(name))).toEqual([]);
});

test('Kubernetes: the node’s network, one agent a node, no rights, secrets from a Secret', () => {
  expect(pod.hostNetwork).toBe(true);
  expect(pod.securityContext.runAsNonRoot).toBe(true);
  expect(container.securityContext).toMatchObject({
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'] },
  });
  expect(read('deploy', 'kubernetes.yaml')).not.toMatch(/^kind: Secret$/m);
  const mounts = container.volumeMounts.map((/** @type {{ mountPath: string }} */ mount) => {
    return mount.mountPath;
  });
  const files = container.args
    .map((/** @type {string} */ arg) => arg.split('=')[1])
    .filter((/** @type {string} */ value) => value.startsWith('/etc/'));

  expect(files.length).toBe(3);
  expect(mounts).toContain('/run/mediasoup-horizontal');
  for (const file of files) {
    expect(mounts).toContain(path.dirname(file));
  }
});

test('Kubernetes: the Service is headless and selects the agents by the port that they listen on', () => {
  const service = object('Service').spec;
  const port = Number(/--listen=\S+:(\d+)/.exec(container.args.join(' '))?.[1]);

  expect(service.clusterIP).toBe('None');
  expect(object('DaemonSet').spec.template.metadata.labels).toMatchObject(service.selector);
  expect(object('DaemonSet').spec.selector.matchLabels).toEqual(service.selector);
  expect(service.ports[0].port).toBe(port);
  expect(container.ports[0].containerPort).toBe(port);
});

test('the image runs the agent as the user of the manifest, without Node.js', () => {
  const [, final] = read('deploy', 'Dockerfile').split(/^FROM debian.*$/m);

  expect(final).toContain(`USER ${pod.securityContext.runAsUser}`);
  expect(final).toContain(`ENTRYPOINT ["${AGENT}"]`);
  expect(final).not.toMatch(/\b(node|npm|npx)\b/);
});

test('systemd: the unit is whole and takes away what the agent does not need', () => {
  expect(unit('ExecStart')[0]).toMatch(/^\/usr\/local\/bin\/mediasoup-horizontal-agent /);
  expect(unit('NoNewPrivileges')).toEqual(['yes']);
  expect(unit('ProtectSystem')).toEqual(['strict']);
  expect(unit('CapabilityBoundingSet')).toEqual(['']);
  expect(unit('User')).toEqual(['mediasoup-horizontal']);

  if (spawnSync('systemd-analyze', ['--version']).status === 0) {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'mh-unit-'));
    const copy = path.join(folder, `${AGENT}.service`);

    // The program is where it is on this host.
    fs.writeFileSync(copy, UNIT.replace(/^ExecStart=\S+/m, `ExecStart=${agentPath}`));
    try {
      const { status, stderr } = spawnSync('systemd-analyze', ['verify', copy], {
        encoding: 'utf8',
        timeout: TIMEOUT_MS,
      });

      expect([status, stderr]).toEqual([0, '']);
    } finally {
      fs.rmSync(folder, { recursive: true, force: true });
    }
  }
});

test('the documentation names every platform', () => {
  const rows = read('docs', 'deploy.md').match(/`mediasoup-horizontal-(?:linux|darwin)-[\w-]+`/g);

  expect(rows).toEqual(PLATFORMS.map((platform) => `\`${packageOf(platform)}\``));
});
