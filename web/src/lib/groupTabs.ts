/**
 * Tabs of a group's page that other features bring: the page knows the place,
 * the feature knows the content, and neither imports the other.
 *
 * A feature fills its tab in its `routes.ts`, with an async component so that
 * it stays a chunk of its own:
 *
 *     groupTabs.keys = defineAsyncComponent(() => import('./parts/KeysTab.vue'))
 *
 * The component takes one prop, `{ group: Group }`, and is made anew for each
 * group. The tab's name is its value in the address (`?tab=keys`). All routes are
 * read before the first page shows, so nobody has to watch this for changes.
 */
export const groupTabs: Record<string, import('vue').Component> = {};
