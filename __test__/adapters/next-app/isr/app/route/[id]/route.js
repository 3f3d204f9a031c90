import { versionOf } from '../../source';

export const dynamic = 'force-static';

export function generateStaticParams() {
  return [];
}

// Bytes that are no text.
export async function GET(request, { params }) {
  const { id } = await params;
  const version = await versionOf(id, { cache: 'force-cache', next: { tags: [`item-${id}`] } });
  const text = Buffer.from(`route ${id} version ${version}.`);
  return new Response(Buffer.concat([text, Buffer.from([0, 255, 254, 128])]));
}
