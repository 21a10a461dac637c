'use strict';

module.exports = require('mediasoup-upstream/extras');
