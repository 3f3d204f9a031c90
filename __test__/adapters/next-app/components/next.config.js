// As of `isr`, with components that are cached.
module.exports = {
  ...require('../isr/next.config.js'),
  experimental: {},
  cacheComponents: true,
  partialPrefetching: false,
};
