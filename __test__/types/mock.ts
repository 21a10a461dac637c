/** The typings of the mock. It compiles or it fails; nothing runs. */

import mediasoup = require('mediasoup-upstream');

import type { Index } from 'mediasoup-upstream/types';

import horizontal = require('mediasoup-horizontal');
import mock = require('mediasoup-horizontal/mock');

mock satisfies Index;
mock satisfies typeof mediasoup;
mock satisfies typeof horizontal;

const { controls } = mock;

declare const transport: mock.types.WebRtcTransport;
declare const plain: mock.types.PlainTransport;
declare const pipe: mock.types.PipeTransport;
declare const direct: mock.types.DirectTransport;
declare const producer: mock.types.Producer<{ room: string }>;
declare const consumer: mock.types.Consumer;
declare const dataConsumer: mock.types.DataConsumer;
declare const levels: mock.types.AudioLevelObserver;
declare const speaker: mock.types.ActiveSpeakerObserver;
declare const worker: mock.types.Worker<{ room: string }>;
declare const tuple: mock.types.TransportTuple;

controls.emit(transport, 'icestatechange', 'completed') satisfies Promise<void>;
void controls.emit(transport, 'dtlsstatechange', 'failed');
void controls.emit(transport, 'iceselectedtuplechange', tuple);
void controls.emit(transport, 'sctpstatechange', 'connected');
void controls.emit(plain, 'tuple', tuple);
void controls.emit(plain, 'rtcptuple', tuple);
void controls.emit(pipe, 'trace', {
  type: 'probation',
  timestamp: 1,
  direction: 'out',
  info: {},
});
void controls.emit(direct, 'rtcp', Buffer.alloc(1));
void controls.emit(producer, 'score', [{ encodingIdx: 0, ssrc: 1, score: 10 }]);
void controls.emit(producer, 'videoorientationchange', { camera: true, flip: true, rotation: 0 });
void controls.emit(consumer, 'layerschange', { spatialLayer: 1 });
void controls.emit(consumer, 'layerschange');
void controls.emit(consumer, 'rtp', Buffer.alloc(1));
void controls.emit(dataConsumer, 'message', Buffer.alloc(1), 51);
void controls.emit(dataConsumer, 'sctpsendbufferfull');
void controls.emit(levels, 'volumes', [{ producer, volume: -10 }]);
void controls.emit(levels, 'silence');
void controls.emit(speaker, 'dominantspeaker', { producer });

// @ts-expect-error Producers have no layers.
void controls.emit(producer, 'layerschange');
// @ts-expect-error There is no such state.
void controls.emit(transport, 'icestatechange', 'failed');
// @ts-expect-error It follows from a close.
void controls.emit(consumer, 'producerclose');
// @ts-expect-error The score is missing.
void controls.emit(consumer, 'score');

controls.kill(worker) satisfies Promise<void>;
void controls.kill(worker, { code: 1 });
void controls.kill(worker, { signal: 'SIGSEGV' });
// @ts-expect-error There is no such signal.
void controls.kill(worker, { signal: 'SIGNAL' });

controls.failNext('transport.produce').cancel() satisfies boolean;
controls.failNext('router.createWebRtcTransport', new Error('no'), { on: transport, times: 2 });
// @ts-expect-error There is no such method.
controls.failNext('transport.close');

const held = controls.holdNext('createWorker');
held.arrived satisfies Promise<void>;
held.release() satisfies boolean;
held.fail(new TypeError('wrong')) satisfies boolean;
// @ts-expect-error It is told, not set.
held.arrived = Promise.resolve();

controls.calls()['transport.produce'] satisfies number | undefined;
controls.openObjects().consumers satisfies number | undefined;
controls.methods() satisfies mock.MockMethod[];
controls.reset() satisfies Promise<void>;

new mock.MockControls(
  new mock.Horizontal([new mock.MockConnection({ name: 'one', cores: 2, region: 'eu', cpu: 0.5 })]),
) satisfies typeof controls;
mock.horizontal satisfies horizontal.Horizontal;
