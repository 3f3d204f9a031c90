/** The current version of an item, as the source says that SOURCE names. */
export async function versionOf(id, options) {
  const response = await fetch(`${process.env.SOURCE}/${id}`, options);
  return response.text();
}
