import type { GroupFields } from './save';

export type GroupDraft = Omit<GroupFields, 'proxy_keys'>;

/**
 * Drafts of editors that were left for another tab of the same page: only in memory, so they
 * may hold what must not be stored, and die with the page.
 */
export const keptDrafts = new Map<number, { base: GroupDraft; draft: GroupDraft }>();
