/** What this package has beside mediasoup's, in ESM. */

import horizontalDefault, { Horizontal, horizontal, MockConnection } from 'mediasoup';
import * as mock from 'mediasoup/mock';
import mockDefault, { controls, createWorker, MockControls } from 'mediasoup/mock';
import type { Index } from 'mediasoup/types';

mock satisfies Index;
mockDefault satisfies Index;
horizontalDefault.horizontal satisfies Horizontal;
horizontal satisfies typeof mock.horizontal;
controls satisfies MockControls;
new MockControls(new Horizontal([new MockConnection()])) satisfies mock.MockControls;
void createWorker().then((worker) => controls.kill(worker));
