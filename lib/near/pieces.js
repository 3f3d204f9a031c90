'use strict';

/** Rows lie in pieces of memory: the upper bits of the number of a row say in which, the lower ones where. */

const PIECE_BITS = 20;
const PIECE_MASK = (1 << PIECE_BITS) - 1;

module.exports = { PIECE_BITS, PIECE_MASK };
