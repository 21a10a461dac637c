export type * from 'mediasoup-upstream/types';
