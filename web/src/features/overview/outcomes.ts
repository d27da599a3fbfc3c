/** How a request can end, in the blame table's order; and how each is drawn. */
export const OUTCOMES = [
  { id: 'ok', color: 'heat-3', hatched: false },
  { id: 'rate_limited', color: 'series-2', hatched: false },
  { id: 'key_exhausted', color: 'state-exhausted', hatched: true },
  { id: 'key_rejected', color: 'danger', hatched: true },
  { id: 'upstream_fault', color: 'danger', hatched: false },
  { id: 'request_fault', color: 'series-4', hatched: false },
  { id: 'client_gone', color: 'control', hatched: true },
] as const;
