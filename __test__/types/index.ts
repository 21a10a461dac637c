/** Our typings next to mediasoup's. It compiles or it fails; nothing runs. */

import mediasoup = require('mediasoup-upstream');

import type { Index } from 'mediasoup-upstream/types';

import horizontal = require('mediasoup-horizontal');
import errors = require('mediasoup-horizontal/errors');
import extras = require('mediasoup-horizontal/extras');
import ortc = require('mediasoup-horizontal/ortc');

import 'mediasoup-horizontal/register';

import type { Router, Worker, WorkerSettings } from 'mediasoup-horizontal/types';

// Whatever takes mediasoup takes our module, and the module behind a Horizontal.
horizontal satisfies Index;
horizontal satisfies typeof mediasoup;
new horizontal.Horizontal().mediasoup satisfies typeof mediasoup;

errors satisfies typeof mediasoup.errors;
extras satisfies typeof mediasoup.extras;
ortc satisfies typeof mediasoup.ortc;

// The types are mediasoup's own, not just alike.
declare const theirs: mediasoup.types.Worker;
theirs satisfies Worker;
theirs satisfies horizontal.types.Worker;
declare const settings: WorkerSettings<{ name: string }>;
settings satisfies mediasoup.types.WorkerSettings<{ name: string }>;
declare const router: Router;
router satisfies mediasoup.types.Router;

// What is ours.
const own = new horizontal.Horizontal(
  new Set([
    'ws://10.0.0.1:4480',
    new horizontal.LocalConnection({ execInPlace: false }),
    new horizontal.RemoteConnection({ url: 'wss://media.example.com:4480', token: 'secret' }),
    new horizontal.MockConnection(),
  ]),
  {
    connectTimeoutMs: 1_000,
    announcedMode: 'identity',
    selfAddresses: ['192.0.2.1'],
    placement: 'leastLoaded',
    maxParts: 3,
    onPartLost: 'continue',
    maxFanOut: 4,
    watermark: 0.5,
    region: 'eu',
    workersPerHost: 8,
  },
);
own satisfies typeof horizontal.horizontal;

void own.mediasoup.createWorker({ logLevel: 'warn' }).then((worker) => {
  own.whereIs(worker)?.connection satisfies string | undefined;
});
own.add('ws://10.0.0.2:4480') satisfies Promise<horizontal.Connection>;
own.add(mediasoup) satisfies Promise<horizontal.Connection>;
own.delete('ws://10.0.0.2:4480') satisfies Promise<boolean>;
own.delete('local', { drain: true, timeoutMs: 5_000 }) satisfies Promise<boolean>;
own.clear() satisfies Promise<void>;
own.has(new horizontal.LocalConnection()) satisfies boolean;
own.size satisfies number;
[...own].map(({ name }) => name) satisfies string[];
new Set<horizontal.Connection>(own.keys());
for (const [connection, same] of own.entries()) {
  (connection === same) satisfies boolean;
}
own.forEach((connection, _, set) => void (set === own && connection.name));
own.on('incompatible', (connection, { differences }) => {
  connection.name satisfies string;
  differences.map(({ what, ours, theirs, why }) => [what, ours, theirs, why]);
});
own.on('closeobject', ({ kind, id, connection, worker, router, reason }) => {
  void [kind, id, connection, worker, router, reason === 'partlost'];
});
own.observer.on('newworker', (worker) => worker.pid satisfies number);
own.close();

const brought: horizontal.UserConnection = {
  name: 'brought',
  capacity: 2,
  spawn: async ({ args, version }) => startSomewhere([...args, version]),
};
own.add(brought) satisfies Promise<horizontal.Connection>;
declare function startSomewhere(args: string[]): horizontal.WorkerChannel;

new horizontal.Horizontal([], {
  placement: ({ router }, candidates) => (router ? 0 : candidates.at(-1)?.name),
}).close();

// @ts-expect-error A function answers at once.
new horizontal.Horizontal([], { placement: async () => 0 });
// @ts-expect-error The URL is needed.
new horizontal.RemoteConnection({});
// @ts-expect-error There is no such mode.
new horizontal.Horizontal([], { announcedMode: 'none' });
// @ts-expect-error A connection of one's own needs a name and a function spawn.
own.add({});
// @ts-expect-error There is no such level.
new horizontal.Horizontal([], { compatibility: 'loose' });
// @ts-expect-error There is no such event.
own.on('gone', () => undefined);
