import { Suspense } from 'react';
import { cacheLife, cacheTag } from 'next/cache';
import { versionOf } from '../../source';
async function data(id) {
  'use cache';
  cacheTag(`item-${id}`);
  cacheLife({ stale: 300, revalidate: 3600, expire: 86_400 });
  return id === 'built' ? 0 : versionOf(id, { cache: 'no-store' });
}
async function Part({ params }) {
  const { id } = await params;
  return <p>{`part ${id} version ${await data(id)}.`}</p>;
}
export default function Page({ params }) {
  return (
    <main>
      <h1>shell</h1>
      <Suspense fallback={<p>wait</p>}>
        <Part params={params} />
      </Suspense>
    </main>
  );
}
