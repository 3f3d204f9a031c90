'use strict';

/**
 * The slow source behind the server, in place of a database or a remote catalogue. It knows nothing
 * of the cache.
 */

const { setTimeout: wait } = require('node:timers/promises');

/** The catalogue has the products 1 to PRODUCTS. */
const PRODUCTS = 5000;
/** A query takes between MIN_MS and MAX_MS milliseconds. */
const MIN_MS = 30;
const MAX_MS = 80;

/** The queries that this process has made, and how many of them are not answered yet. */
const stats = { calls: 0, pending: 0 };

const ADJECTIVES = ['Light', 'Sturdy', 'Quiet', 'Folding', 'Classic', 'Warm', 'Compact'];
const NOUNS = [
  'lamp',
  'kettle',
  'backpack',
  'chair',
  'bicycle bell',
  'notebook',
  'blanket',
  'tent',
];
const SENTENCES = [
  'Made to be repaired: every part can be ordered on its own for ten years.',
  'Our customers take it along on long journeys and bring it back in one piece.',
  'Tested in our own workshop, from the first drawing to the last screw.',
  'Weighs less than it looks and carries more than it promises.',
  'Comes in a box without plastic, with instructions that one can read.',
];

/**
 * One product of the catalogue, about 1 kB as JSON; `undefined` when there is none with this id.
 * @param {number} id
 */
async function findProduct(id) {
  stats.calls += 1;
  stats.pending += 1;
  await wait(MIN_MS + Math.random() * (MAX_MS - MIN_MS));
  stats.pending -= 1;
  if (!Number.isInteger(id) || id < 1 || id > PRODUCTS) return undefined;
  const pick = (list, salt) => list[(id * 31 + salt * 17) % list.length];
  return {
    id,
    name: `${pick(ADJECTIVES, 1)} ${pick(NOUNS, 2)}`,
    price: { amount: 500 + ((id * 7919) % 20000), currency: 'EUR', unit: 'cent' },
    description: [1, 2, 3, 4].map((salt) => pick(SENTENCES, salt)).join(' '),
    stock: ['Berlin', 'Lyon', 'Porto'].map((city, n) => ({ city, pieces: (id * (n + 3)) % 90 })),
    reviews: [1, 2, 3, 4].map((n) => ({
      stars: 1 + ((id + n) % 5),
      by: `customer-${(id * n * 104729) % 100000}`,
      text: pick(SENTENCES, n + 4),
    })),
  };
}

module.exports = { findProduct, stats, PRODUCTS, MIN_MS, MAX_MS };
