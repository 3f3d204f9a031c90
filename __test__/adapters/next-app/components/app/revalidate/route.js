import { revalidatePath, revalidateTag } from 'next/cache';

// ?tag=TAG&expire=SECONDS or ?path=PATH
export async function POST(request) {
  const { searchParams } = new URL(request.url);
  const [tag, path] = [searchParams.get('tag'), searchParams.get('path')];
  if (path) revalidatePath(path);
  else revalidateTag(tag, { expire: Number(searchParams.get('expire') ?? 0) });
  return new Response('done');
}
