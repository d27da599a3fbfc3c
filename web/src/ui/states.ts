/** The six states of a key, in the order in which they are shown everywhere. */
export const STATES = ['active', 'suspect', 'cooling', 'exhausted', 'invalid', 'disabled'] as const;
export type KeyState = (typeof STATES)[number];

export const HEALTH = ['ok', 'warn', 'bad', 'idle'] as const;
export type Health = (typeof HEALTH)[number];
