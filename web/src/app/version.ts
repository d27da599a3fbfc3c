import { readonly, ref } from 'vue';

const isStale = ref(false);
let build: string | null = null;

/** Whether another version runs now than the one that this page came from. */
export const newVersion = readonly(isStale);

/** The node says which build it serves. */
export function buildSeen(seen: string): void {
  build ??= seen;
  if (seen !== build) isStale.value = true;
}

/** A part of the page could not be loaded: it was replaced by another build's. */
export function chunkFailed(error: unknown): void {
  if (isStale.value) return; // what fails after that fails for that
  if (/dynamically imported module|Importing a module|Unable to preload/i.test(String(error))) {
    isStale.value = true;
  } else {
    console.error(error);
  }
}
