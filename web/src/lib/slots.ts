/**
 * Places of one feature that another one fills, so that neither imports the other.
 *
 * Filled in the `routes.ts` of whoever brings the content, all of which are read before
 * the first page shows; so nobody has to watch this for changes.
 */
interface Slots {
  /** In place of the overview, while there is nothing to look over. Takes no props. */
  firstRun: import('vue').Component | null;
}

export const slots: Slots = { firstRun: null };
