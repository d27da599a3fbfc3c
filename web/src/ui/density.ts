import { ref } from 'vue';

/** How high rows are. What one prefers is the app's to know. */
export const DENSITIES = ['comfortable', 'compact'] as const;
export type Density = (typeof DENSITIES)[number];
export const density = ref<Density>('comfortable');

/** Of a grid's row on a wide screen, px: as `--row` in tokens.css. */
export const ROWS: Record<Density, number> = { comfortable: 36, compact: 28 };
