/** Rules for fields of the requests that leave: what the node would refuse. */

/** What a value may hold, and the node fills in. */
export const VARIABLES = [
  '${CLIENT_IP}',
  '${GROUP_NAME}',
  '${API_KEY}',
  '${TIMESTAMP_MS}',
  '${TIMESTAMP_S}',
] as const;

export type HeaderFault = 'name' | 'duplicate' | 'value';

/** RFC 9110 §5.6.2. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const LONGEST = 8192;

export function faultOf(
  rules: readonly { key: string; value: string; action: string }[],
  place: number,
): HeaderFault | null {
  const { key, value, action } = rules[place]!;
  const name = key.trim().toLowerCase();
  if (!TOKEN.test(name)) return 'name';
  if (rules.findIndex((rule) => rule.key.trim().toLowerCase() === name) < place) return 'duplicate';

  const isBad = /[\u0000-\u0008\u000a-\u001f\u007f]/.test(value) || value.length > LONGEST;
  return action === 'set' && isBad ? 'value' : null;
}
