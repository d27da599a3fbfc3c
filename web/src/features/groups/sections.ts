/** Which settings stand in which section of the editor. What is new stands with the requests. */

export type Section =
  | 'basics'
  | 'upstreams'
  | 'access'
  | 'validation'
  | 'requests'
  | 'blame'
  | 'headers'
  | 'overrides'
  | 'redirects'
  | 'logging';

export const SECTIONS: readonly Section[] = [
  'basics',
  'upstreams',
  'access',
  'validation',
  'requests',
  'blame',
  'headers',
  'overrides',
  'redirects',
  'logging',
];

/** An aggregate sends nothing itself: its members do. */
const OF_STANDARD: ReadonlySet<Section> = new Set(['upstreams', 'validation', 'redirects']);

export function sectionsFor(isAggregate: boolean): Section[] {
  return SECTIONS.filter((section) => !isAggregate || !OF_STANDARD.has(section));
}

export function sectionOf(key: string): Section {
  if (key.startsWith('key_validation')) return 'validation';
  if (/logging|retention/.test(key)) return 'logging';
  if (/blacklist|affinity|threshold/.test(key)) return 'blame';
  if (/pass_account|proxy_keys/.test(key)) return 'access';
  return 'requests';
}

const BY_FIELD: Record<string, Section> = {
  upstreams: 'upstreams',
  test_model: 'validation',
  validation_endpoint: 'validation',
  error_rules: 'blame',
  header_rules: 'headers',
  param_overrides: 'overrides',
  model_redirect_rules: 'redirects',
  model_redirect_strict: 'redirects',
};

/** Where a changed path, such as `config.max_retries`, is edited. */
export function sectionOfPath(path: string): Section {
  const [field, key] = path.split('.');
  if (field === 'config' && key) return sectionOf(key);
  return BY_FIELD[field ?? ''] ?? 'basics';
}
