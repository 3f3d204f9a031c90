'use strict';

/** What the remote tier says on the channel `remote` of `node:diagnostics_channel`. */

const { channel } = require('diagnostics_channel');

const remote = channel('lru-cache-for-clusters-as-promised:remote');

/** Publishes what has happened, where somebody subscribes. */
function publish(message) {
  if (remote.hasSubscribers) remote.publish(message);
}

module.exports = { publish };
