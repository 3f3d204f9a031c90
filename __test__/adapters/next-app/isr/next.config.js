const path = require('node:path');

// CACHE=default: the handlers of Next.js itself, for comparison.
const isOurs = process.env.CACHE !== 'default';

module.exports = {
  distDir: process.env.DIST_DIR ?? '.next',
  // Where the packages lie.
  turbopack: { root: path.join(__dirname, '..') },
  experimental: { useCache: true },
  ...(isOurs && {
    cacheHandler: require.resolve('lru-cache-for-clusters-as-promised/next/cache-handler'),
    cacheHandlers: {
      default: require.resolve('lru-cache-for-clusters-as-promised/next/cache-handlers'),
    },
    cacheMaxMemorySize: 0,
  }),
};
