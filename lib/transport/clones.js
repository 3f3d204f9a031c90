'use strict';

/** Whether the channel to the primary carries structured clones; `undefined` until the first message is sent. */
let advanced;

/** Sets `advanced` when it is sent: JSON asks for `toJSON`, structured clone for the properties. */
const probe = Object.defineProperty(
  Object.create({
    toJSON() {
      advanced = false;
      return true;
    },
  }),
  'value',
  {
    enumerable: true,
    get() {
      advanced = true;
      return true;
    },
  },
);

/** Whether the channel to the primary carries structured clones, as far as is known. */
const carriesClones = () => advanced ?? false;

module.exports = { carriesClones, probe };
