'use strict';

const { LockStep } = require('./lib/lock-step');
const { ALL, World, produce, produceData } = require('./lib/world');

/** @import { types } from 'mediasoup-upstream' */

/** More than one wait in it may take. */
jest.setTimeout(30_000);

const CREATE = ['ROUTER_CREATE_PIPETRANSPORT', 'ROUTER_CREATE_PIPETRANSPORT'];
const CONNECT = ['PIPETRANSPORT_CONNECT', 'PIPETRANSPORT_CONNECT'];

describe.each(ALL)('$name', (kind) => {
  /** @type {World} */
  let world;
  /** @type {[types.Router, types.Router]} */
  let routers;
  /** @type {types.Transport[]} */
  let transports;

  beforeAll(async () => {
    world = await World.open(kind);
  });

  beforeEach(async () => {
    routers = /** @type {[types.Router, types.Router]} */ (await world.routers(2));
    transports = await Promise.all(routers.map((router) => router.createDirectTransport()));
  });

  afterAll(() => world?.close());

  /** @param {{ producerId: string } | { dataProducerId: string }} what */
  const count = (what) =>
    LockStep.count(transports, () =>
      routers[0].pipeToRouter(/** @type {any} */ ({ ...what, router: routers[1] })),
    );

  test.each([
    {
      noun: 'media',
      make: async () => ({ producerId: (await produce(routers[0])).id }),
      consume: 'TRANSPORT_CONSUME',
      produced: 'TRANSPORT_PRODUCE',
    },
    {
      noun: 'data',
      make: async () => ({ dataProducerId: (await produceData(routers[0])).id }),
      consume: 'TRANSPORT_CONSUME_DATA',
      produced: 'TRANSPORT_PRODUCE_DATA',
    },
  ])('$noun take few round trips', async ({ make, consume, produced }) => {
    const [one, other] = [await make(), await make()];

    expect(await count(one)).toEqual(
      kind.ours
        ? [CREATE, [...CONNECT, consume], [produced]]
        : [CREATE, CONNECT, [consume], [produced]],
    );
    expect(await count(other)).toEqual([[consume], [produced]]);
  });

  if (kind.ours) {
    test('a repeated call takes none', async () => {
      const what = { producerId: (await produce(routers[0])).id };

      await count(what);
      expect(await count(what)).toEqual([]);
    });

    test('calls at once share theirs', async () => {
      const [one, other] = [await produce(routers[0]), await produce(routers[1])];
      const [a, b] = routers;
      const rounds = await LockStep.count(transports, () =>
        Promise.all([
          a.pipeToRouter({ producerId: one.id, router: b }),
          a.pipeToRouter({ producerId: one.id, router: b }),
          b.pipeToRouter({ producerId: other.id, router: a, keepId: false }),
        ]),
      );

      expect(rounds).toEqual([
        CREATE,
        [...CONNECT, 'TRANSPORT_CONSUME', 'TRANSPORT_CONSUME'],
        ['TRANSPORT_PRODUCE', 'TRANSPORT_PRODUCE'],
      ]);
    });
  }
});
