'use strict';

/**
 * Invalidation by tag: pages that are made of posts, and that are made anew after a post was written.
 *
 *   node examples/tags.js
 *   curl -i http://127.0.0.1:3000/posts/1       twice: the second answer says `x-cache: hit`
 *   curl -i http://127.0.0.1:3000/              the front page, which shows all posts
 *   curl -X PUT -d 'New text' http://127.0.0.1:3000/posts/1
 *   curl -i http://127.0.0.1:3000/              the new text, from every worker
 *
 * Settings from the environment: PORT (3000).
 */

const cluster = require('node:cluster');
const http = require('node:http');
const { text } = require('node:stream/consumers');
const { setTimeout: wait } = require('node:timers/promises');
const LRUCache = require('lru-cache-for-clusters-as-promised');

const WORKERS = 4;
const PORT = Number(process.env.PORT ?? 3000);
const POSTS = ['1', '2', '3'];

if (cluster.isPrimary) {
  LRUCache.init();
  let listening = 0;
  cluster.on('listening', (worker, { port }) => {
    listening += 1;
    if (listening === WORKERS) console.log(`Listening on http://127.0.0.1:${port}/`);
  });
  for (let n = 0; n < WORKERS; n += 1) cluster.fork();
} else {
  work();
}

async function work() {
  const pages = await LRUCache.getInstance({ namespace: 'pages', max: 1000, timeout: 2000 });
  // In place of a database, which is slow.
  const database = await LRUCache.getInstance({ namespace: 'database', timeout: 2000 });

  async function readPost(id) {
    const post = await database.get(id);
    await wait(20);
    return post ?? `Post ${id}`;
  }

  const showPost = async (id) => `<h1>${id}</h1><p>${await readPost(id)}</p>\n`;
  const showAll = async () => `${(await Promise.all(POSTS.map(showPost))).join('')}<hr>\n`;

  /**
   * The page of an address, and whether the cache had it. `fetch` does not store a page whose tag was
   * invalidated after its making had begun: it may show what was there before the write. With `get`
   * and `set` it would be stored.
   */
  async function pageOf(url) {
    const [, id] = /^\/posts\/(\d)$/.exec(url) ?? [];
    if (url !== '/' && !POSTS.includes(id)) return {};
    const make = id === undefined ? showAll : () => showPost(id);
    // What the page is made of.
    const tags = id === undefined ? POSTS.map((post) => `post:${post}`) : `post:${id}`;
    const status = {};
    return { body: await pages.fetch(url, make, { tags, status }), status };
  }

  async function answer(req, res) {
    if (req.method === 'PUT' && /^\/posts\/\d$/.test(req.url)) {
      const id = req.url.slice('/posts/'.length);
      await database.set(id, await text(req));
      // First the database, then the tag: who makes a page from now on reads what is new.
      await pages.invalidateTags(`post:${id}`);
      res.writeHead(204).end();
      return;
    }
    const { body, status } = await pageOf(req.url);
    if (body === undefined) {
      res.writeHead(404).end();
      return;
    }
    res.setHeader('content-type', 'text/html');
    res.setHeader('x-cache', status.fetch);
    res.end(body);
  }

  const server = http.createServer((req, res) => {
    res.setHeader('x-worker', cluster.worker.id);
    answer(req, res).catch((error) => {
      console.error(error);
      res.writeHead(500).end();
    });
  });
  server.listen(PORT, '127.0.0.1');
}
