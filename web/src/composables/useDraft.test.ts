// @vitest-environment jsdom
import { render } from '@testing-library/vue';
import { expect, it } from 'vitest';
import { defineComponent, nextTick, ref } from 'vue';
import { createMemoryHistory, createRouter, RouterView } from 'vue-router';

import { useDraft } from './useDraft';

interface Held {
  retries: number;
  note: string;
}

async function form(held: Held) {
  const base = ref<Held>(held);
  let made!: ReturnType<typeof useDraft<Held>>;
  const component = defineComponent(() => {
    made = useDraft<Held>(() => base.value, { name: 'test' });
    return () => null;
  });
  const router = createRouter({
    history: createMemoryHistory(),
    routes: [{ path: '/', component }],
  });
  await router.push('/');
  render(RouterView, { global: { plugins: [router] } });
  return { base, ...made };
}

it('keeps what was typed while it was being saved', async () => {
  const { base, draft, isDirty, patch, saved, standing } = await form({ retries: 3, note: '' });
  draft.value!.retries = 4;
  const sent = standing();
  draft.value!.retries = 5;
  draft.value!.note = 'more';
  saved({ retries: 4, note: '' }, sent);
  expect(draft.value).toEqual({ retries: 5, note: 'more' });
  expect(patch()).toEqual({ retries: 5, note: 'more' });
  base.value = { retries: 4, note: '' };
  await nextTick();
  expect(draft.value).toEqual({ retries: 5, note: 'more' });
  expect(isDirty.value).toBe(true);
});

it('is done when nothing was typed meanwhile, with what the server made of it', async () => {
  const { draft, isDirty, saved, standing } = await form({ retries: 3, note: '' });
  draft.value!.note = ' x ';
  saved({ retries: 3, note: 'x' }, standing());
  expect(draft.value).toEqual({ retries: 3, note: 'x' });
  expect(isDirty.value).toBe(false);
});
