/** The hand-written typings next to the JavaScript that they describe. */

import declared = require('mediasoup-horizontal');
import connections = require('../../js/connections.js');

import type { EnhancedEventEmitter } from 'mediasoup-horizontal/extras';
import type { Horizontal } from '../../js/horizontal.js';

type Class = abstract new (...args: never[]) => unknown;

/** Compiles only for the same type, member by member. */
type Same<A, B> = [A, B] extends [B, A] ? true : { ours: A; declared: B };

/** Members that name connections, whose types are nominal, or events of theirs. */
type Nominal =
  | keyof EnhancedEventEmitter
  | 'add'
  | 'delete'
  | 'has'
  | 'forEach'
  | 'keys'
  | 'values'
  | 'entries'
  | typeof Symbol.iterator
  | 'observer';

/** The other public members of a class. */
type Members<C extends Class> = {
  [K in Exclude<keyof InstanceType<C>, 'settings' | Nominal>]: InstanceType<C>[K];
};

type Parameter<C extends Class, N extends number> = ConstructorParameters<C>[N];

true satisfies Same<Members<typeof Horizontal>, Members<typeof declared.Horizontal>>;
true satisfies Same<Parameter<typeof Horizontal, 1>, Parameter<typeof declared.Horizontal, 1>>;
true satisfies Same<keyof Horizontal, keyof declared.Horizontal>;

type Ours = typeof connections;
type Declared = typeof declared;

true satisfies Same<
  Parameter<Ours['LocalConnection'], 0>,
  Parameter<Declared['LocalConnection'], 0>
>;
true satisfies Same<
  Parameter<Ours['RemoteConnection'], 0>,
  Parameter<Declared['RemoteConnection'], 0>
>;
true satisfies Same<Parameter<Ours['MockConnection'], 0>, Parameter<Declared['MockConnection'], 0>>;
