import { versionOf } from '../../source';

export const revalidate = false;

export function generateStaticParams() {
  return [];
}

// A page that is made at its first request, and then kept, of data that is kept, too.
export default async function Page({ params }) {
  const { id } = await params;
  const version = await versionOf(id, { cache: 'force-cache', next: { tags: [`item-${id}`] } });
  return (
    <main>
      <p>{`page ${id} version ${version}.`}</p>
      <p>{'x'.repeat(20_000)}</p>
    </main>
  );
}
