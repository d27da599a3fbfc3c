/** The languages that the dashboard and the node speak. */
export const LOCALES = [
  { value: 'zh-CN', label: '中文' },
  { value: 'en-US', label: 'English' },
  { value: 'ja-JP', label: '日本語' },
] as const;
export type Locale = (typeof LOCALES)[number]['value'];
