/** What all other pages say. */
const texts = import.meta.glob<Record<string, string>>(
  ['/src/features/*/texts/en.json', '!/src/features/{auth,first-run,overview}/texts/en.json'],
  { eager: true, import: 'default' },
);

export default Object.assign({}, ...Object.values(texts)) as Record<string, string>;
