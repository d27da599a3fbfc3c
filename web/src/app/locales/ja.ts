/** What the shell, signing in, first steps and the overview say: loaded first. */
const texts = import.meta.glob<Record<string, string>>(
  ['/src/{app,ui}/**/texts/ja.json', '/src/features/{auth,first-run,overview}/texts/ja.json'],
  { eager: true, import: 'default' },
);

export default Object.assign({}, ...Object.values(texts)) as Record<string, string>;
