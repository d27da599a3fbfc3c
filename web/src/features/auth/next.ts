/** Where to go after signing in: a path of ours, or the overview. */
export function safeNext(asked: unknown): string {
  if (typeof asked !== 'string') return '/';
  // Browsers read "/\" as "//", and drop tabs and line ends within an address.
  const isOurs = /^\/(?![/\\])/.test(asked) && !/[\t\r\n\\]/.test(asked);
  return isOurs && !asked.startsWith('/login') ? asked : '/';
}
