'use strict';

/** Arguments of calls that the first tier reads in Rust, and scripts of the server need as well. */

const { CODES, makeError } = require('../errors');
const { shown } = require('../options');

/** The error of an argument, as the first tier gives it. */
const wrong = (message) => makeError(['TypeError', message, CODES.INVALID_ARG_TYPE]);

/** A number of a call. */
function numberArgument(call, number) {
  if (typeof number === 'number') return number;
  throw wrong(`${call} needs a number, got ${shown(number)}`);
}

module.exports = { numberArgument, wrong };
