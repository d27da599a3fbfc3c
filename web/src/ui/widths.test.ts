// @vitest-environment jsdom
import { nextTick } from 'vue';
import { beforeEach, expect, test } from 'vitest';

import { resized, widthsOf } from './widths';

beforeEach(() => localStorage.clear());

test('a width is kept within what can be read and seen', () => {
  expect(resized({}, 'model', 210.4)).toEqual({ model: 210 });
  expect(resized({}, 'model', -5).model).toBeGreaterThan(20);
  expect(resized({}, 'model', 1e6).model).toBeLessThan(2000);
});

test('a column goes back to its usual width alone', () => {
  expect(resized({ model: 210, group: 90 }, 'model', null)).toEqual({ group: 90 });
});

test('widths are kept in this browser', async () => {
  widthsOf('one').value = { model: 200 };
  await nextTick();
  expect(localStorage.getItem('gptload.widths.one')).toBe('{"model":200}');
  expect(widthsOf('one').value).toEqual({ model: 200 });
});

test.each(['null', '[', '{"model":"wide","group":null}'])(
  'what makes no sense is left: %s',
  (kept) => {
    localStorage.setItem(`gptload.widths.${kept}`, kept);
    expect(widthsOf(kept).value).toEqual({});
  },
);
