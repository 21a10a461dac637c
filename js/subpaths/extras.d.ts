export * from 'mediasoup-upstream/extras';
