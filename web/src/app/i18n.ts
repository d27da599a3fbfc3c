import { createI18n } from 'vue-i18n';

import { speak } from '@/api/client';
import { wordSilence } from '@/api/errors';
import { type Locale, LOCALES } from '@/lib/locales';

const STORED = 'gptload.language';

type Texts = Record<string, string>;
type Load = () => Promise<{ default: Texts }>;

const FIRST: Record<Locale, Load> = {
  'en-US': () => import('./locales/en'),
  'zh-CN': () => import('./locales/zh'),
  'ja-JP': () => import('./locales/ja'),
};
const REST: Record<Locale, Load> = {
  'en-US': () => import('./locales/en-rest'),
  'zh-CN': () => import('./locales/zh-rest'),
  'ja-JP': () => import('./locales/ja-rest'),
};
/** Whether a page was seen that needs more than the first texts. */
let isRestWanted = false;
const loaded = new Map<Load, Promise<{ default: Texts }>>();

function load(from: Load): Promise<{ default: Texts }> {
  let found = loaded.get(from);
  if (!found) loaded.set(from, (found = from()));
  found.catch(() => loaded.delete(from));
  return found;
}

export const i18n = createI18n({
  legacy: false,
  locale: 'en-US' as string,
  // A test sees to it that no text is missing.
  fallbackLocale: false,
  // Keys are flat: a name is looked up as it stands.
  messageResolver: (texts, key) => (texts as Record<string, string>)[key] ?? null,
  missingWarn: import.meta.env.DEV,
  fallbackWarn: false,
});

wordSilence((code) =>
  i18n.global.t(code === 'TIMEOUT' ? 'ui.error.timeout' : 'ui.error.unreachable'),
);

/** The language of the last visit, or the first of the browser's that we speak. */
export function preferredLocale(): Locale {
  let wanted: string[] = [...navigator.languages];
  try {
    wanted = [localStorage.getItem(STORED) ?? '', ...wanted];
  } catch {
    // Storage is off.
  }
  for (const tag of wanted) {
    const found = LOCALES.find(({ value }) => tag && value.slice(0, 2) === tag.slice(0, 2));
    if (found) return found.value;
  }
  return 'en-US';
}

/** Switch in place: nothing that is typed is lost. Only the wanted language is loaded. */
export async function setLocale(locale: Locale): Promise<void> {
  const parts = await Promise.all([
    load(FIRST[locale]),
    ...(isRestWanted ? [load(REST[locale])] : []),
  ]);
  i18n.global.setLocaleMessage(locale, Object.assign({}, ...parts.map((part) => part.default)));
  i18n.global.locale.value = locale;
  document.documentElement.lang = locale;
  speak(locale);
}

/** Have the texts of all pages, in this language and those chosen later. */
export async function wantAllTexts(): Promise<void> {
  if (isRestWanted && loaded.has(REST[i18n.global.locale.value as Locale])) {
    await load(REST[i18n.global.locale.value as Locale]);
    return;
  }
  isRestWanted = true;
  await setLocale(i18n.global.locale.value as Locale);
}

export async function chooseLocale(locale: Locale): Promise<void> {
  await setLocale(locale);
  try {
    localStorage.setItem(STORED, locale);
  } catch {
    // Storage is off: it holds for this visit.
  }
}
