import { QueryCache, QueryClient } from '@tanstack/vue-query';

import { ApiError } from '@/api/errors';
import { live } from '@/api/live';

const READ_RETRIES = 2;

/** Reads are repeated twice where that may help, with jitter and by Retry-After; writes never. */
export const queryClient = new QueryClient({
  queryCache: new QueryCache({
    // Whether the database is away: the node knows, and the bar above the page says so.
    onError: (error, query) => {
      if (error instanceof ApiError && error.status === 503 && query.queryKey[0] !== 'meta') {
        void queryClient.invalidateQueries({ queryKey: ['meta'] });
      }
    },
  }),
  defaultOptions: {
    queries: {
      staleTime: 10_000,
      gcTime: 5 * 60_000,
      refetchOnWindowFocus: true,
      // While all is paused a repeat would wait, too: the error is told at once instead.
      retry: (failures, error) =>
        failures < READ_RETRIES &&
        error instanceof ApiError &&
        error.isPassing &&
        live.state.value !== 'paused',
      retryDelay: (failures, error) => {
        const asked = error instanceof ApiError ? error.retryAfterS : null;
        if (asked !== null) return Math.min(asked, 30) * 1000;
        return 500 * 2 ** failures * (0.5 + Math.random());
      },
    },
    mutations: { retry: false },
  },
});
