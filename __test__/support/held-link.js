'use strict';

// What the tests hold and cut is what the soak does.
const { CutLink: HeldLink } = require('../../benches/lib/link/cut-link');

module.exports = { HeldLink };
