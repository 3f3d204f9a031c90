import { cacheLife, cacheTag } from 'next/cache';

import { versionOf } from '../../source';

export const dynamic = 'force-dynamic';

async function data(id) {
  'use cache';
  cacheTag(`item-${id}`);
  cacheLife({ stale: 300, revalidate: 3600, expire: 86_400 });
  const version = await versionOf(id, { cache: 'no-store' });
  return { version, much: 'y'.repeat(200_000) };
}

export default async function Page({ params }) {
  const { id } = await params;
  const { version, much } = await data(id);
  return <p>{`use-cache ${id} version ${version}. ${much.length}`}</p>;
}
