import { cacheLife, cacheTag } from 'next/cache';
import { versionOf } from '../../source';
export async function generateStaticParams() {
  return [{ id: 'built' }];
}
export default async function Page({ params }) {
  'use cache';
  const { id } = await params;
  cacheTag(`item-${id}`);
  cacheLife({ stale: 300, revalidate: 3600, expire: 86_400 });
  const version = id === 'built' ? 0 : await versionOf(id, { cache: 'no-store' });
  return <p>{`whole ${id} version ${version}.`}</p>;
}
