'use strict';

/** Stands where an app has `mediasoup` installed, which this checkout has under another name. */
module.exports = require('mediasoup-upstream');
