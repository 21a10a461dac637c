/** An app whose module format its configuration decides. */

import * as mediasoup from 'mediasoup';
import { createWorker, type types } from 'mediasoup';
import { NotFoundError } from 'mediasoup/errors';
import { enhancedOnce } from 'mediasoup/extras';
import * as ortc from 'mediasoup/ortc';
import type { AppData, Consumer, Index, Producer, WebRtcTransport } from 'mediasoup/types';

/** Whatever takes mediasoup. */
export function serve(module: Index): Promise<types.Worker> {
  return module.createWorker();
}

export async function consume<Data extends AppData>(
  transport: WebRtcTransport<Data>,
  producer: Producer,
): Promise<Consumer | undefined> {
  try {
    return await transport.consume({
      producerId: producer.id,
      rtpCapabilities: mediasoup.getSupportedRtpCapabilities() as types.RtpCapabilities,
    });
  } catch (error) {
    if (error instanceof NotFoundError || error instanceof mediasoup.errors.WorkerClosedError) {
      return undefined;
    }
    throw error;
  }
}

void serve(mediasoup);
void createWorker().then((worker) => enhancedOnce<types.WorkerEvents>(worker, 'died'));
ortc satisfies typeof mediasoup.ortc;
