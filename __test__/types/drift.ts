/** The hand-written typings next to the JavaScript that they describe. */

import declared = require('mediasoup-horizontal');
import connections = require('../../js/connections.js');

import type { Horizontal } from '../../js/horizontal.js';

/** Compiles only for the same type, member by member. */
type Same<A, B> = [A, B] extends [B, A] ? true : { ours: A; declared: B };

/** A class as its public members and what its constructor takes. */
type Shape<C extends abstract new (...args: never[]) => unknown> = {
  members: { [K in Exclude<keyof InstanceType<C>, 'settings'>]: InstanceType<C>[K] };
  parameters: ConstructorParameters<C>;
};

true satisfies Same<Shape<typeof Horizontal>, Shape<typeof declared.Horizontal>>;
true satisfies Same<
  Shape<typeof connections.LocalConnection>,
  Shape<typeof declared.LocalConnection>
>;
true satisfies Same<
  Shape<typeof connections.RemoteConnection>,
  Shape<typeof declared.RemoteConnection>
>;
true satisfies Same<
  Shape<typeof connections.MockConnection>,
  Shape<typeof declared.MockConnection>
>;
