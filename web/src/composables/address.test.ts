// @vitest-environment jsdom
import { render } from '@testing-library/vue';
import { expect, test, vi } from 'vitest';
import { defineComponent } from 'vue';
import { createMemoryHistory, createRouter } from 'vue-router';

import { number, oneOf, text } from '@/lib/urlState';

import { startClock, useRange } from './useRange';
import { useUrlState } from './useUrlState';

async function at<T>(address: string, use: () => T) {
  const component = { template: '<div />' };
  const router = createRouter({
    history: createMemoryHistory(),
    routes: [{ path: '/:any(.*)*', component }],
  });
  await router.push(address);
  let made!: T;
  const page = defineComponent(() => {
    made = use();
    return () => null;
  });
  render(page, { global: { plugins: [router] } });
  return { router, made };
}

function settled(): Promise<unknown> {
  return new Promise((resolve) => setTimeout(resolve, 20));
}

const SCHEMA = { q: text(), state: oneOf(['all', 'invalid'], 'all'), key: number() };

test('filters written in one turn are one change of the address', async () => {
  const { router, made } = await at('/groups/7?range=7d', () => useUrlState(SCHEMA));
  made.refs.q.value = 'team';
  made.refs.state.value = 'invalid';
  await settled();
  expect(router.currentRoute.value.fullPath).toBe('/groups/7?range=7d&q=team&state=invalid');
});

test('Back closes a drawer, and brings no letter of a filter back', async () => {
  const { router, made } = await at('/groups/7', () => useUrlState(SCHEMA));
  made.refs.q.value = 'a';
  await settled();
  made.refs.q.value = 'ab';
  await settled();
  await made.set({ key: 12 }, 'push');
  expect(made.values.key).toBe(12);
  router.back();
  await settled();
  expect(made.values).toMatchObject({ key: null, q: 'ab' });
});

test('a reset of filters leaves the range alone', async () => {
  const { router, made } = await at('/logs?range=1h&q=x&key=3', () => useUrlState(SCHEMA));
  await made.reset('q', 'key');
  expect(router.currentRoute.value.fullPath).toBe('/logs?range=1h');
});

test('a preset stays relative, and bounds are epoch milliseconds', async () => {
  const { router, made } = await at('/?tz=Asia/Tokyo', () => useRange());
  expect(made.range.value).toEqual({ preset: '24h' });
  made.setRange({ preset: '7d' });
  await settled();
  expect(router.currentRoute.value.query).toEqual({ tz: 'Asia/Tokyo', range: '7d' });
  made.setRange({ from: 1_764_000_000_000, to: 1_764_003_600_000.4 });
  await settled();
  expect(router.currentRoute.value.query).toMatchObject({
    from: '1764000000000',
    to: '1764003600000',
  });
  expect(made.query.value).toMatchObject({ from: '1764000000000', tz: 'Asia/Tokyo' });
});

test('zooming out is the range before, and nonsense is the default', async () => {
  const { router, made } = await at('/?from=9&to=2&cmp=x&tz=Mars/Olympus&range=1h', () =>
    useRange(),
  );
  expect(made.range.value).toEqual({ preset: '1h' });
  expect(made.compare.value).toBe('previous');
  made.setRange({ from: 1000, to: 2000 });
  await settled();
  made.zoomOut();
  await settled();
  expect(router.currentRoute.value.query.range).toBe('1h');
});

test('presets move with the clock a minute at a time; lists, bounds and what is paused do not', async () => {
  const { made: moving } = await at('/?range=1h', () => useRange());
  const { made: still } = await at('/?range=1h', () => useRange('still'));
  const { made: fixed } = await at('/?from=1764000000000&to=1764003600000', () => useRange());
  vi.useFakeTimers();
  try {
    let mayMove = true;
    startClock(() => mayMove);
    moving.refresh();
    const begin = moving.span.value.to;
    vi.advanceTimersByTime(45_000);
    expect(moving.span.value.to).toBe(begin);
    vi.advanceTimersByTime(15_000);
    expect(moving.span.value).toEqual({ from: begin - 3_540_000, to: begin + 60_000 });
    expect(still.span.value.to).toBe(begin);
    expect(fixed.span.value).toEqual({ from: 1764000000000, to: 1764003600000 });
    mayMove = false;
    vi.advanceTimersByTime(600_000);
    expect(moving.span.value.to).toBe(begin + 60_000);
    mayMove = true;
    document.dispatchEvent(new Event('visibilitychange'));
    expect(moving.span.value.to).toBe(begin + 660_000);
    still.refresh();
    expect(still.span.value.to).toBe(begin + 660_000);
  } finally {
    vi.useRealTimers();
  }
});
