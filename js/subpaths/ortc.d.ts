export * from 'mediasoup-upstream/ortc';
