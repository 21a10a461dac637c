'use strict';

module.exports = {
  /** The variable that tells a test file that it runs on the app's host. */
  INSIDE: 'MEDIASOUP_HORIZONTAL_TEST_INSIDE',
  RESULTS_FD: 3,
};
