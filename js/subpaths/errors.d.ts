export * from 'mediasoup-upstream/errors';
