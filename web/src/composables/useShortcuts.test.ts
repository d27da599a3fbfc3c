// @vitest-environment jsdom
import { render } from '@testing-library/vue';
import { afterEach, expect, it, vi } from 'vitest';
import { defineComponent, h } from 'vue';

import { useShortcuts } from './useShortcuts';

const zoomOut = vi.fn();
const save = vi.fn();
const open = vi.fn();

function page(tag: string) {
  const component = defineComponent(() => {
    useShortcuts({ 'ctrl+z': zoomOut, 'ctrl+s': save, n: open });
    return () => h(tag, { 'data-testid': 'it' });
  });
  return render(component).getByTestId('it');
}

function press(target: Element, key: string, held: KeyboardEventInit = {}): KeyboardEvent {
  const event = new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true, ...held });
  target.dispatchEvent(event);
  return event;
}

afterEach(() => vi.clearAllMocks());

it.each(['input', 'textarea'])('leaves undoing to a field: %s', (tag) => {
  const event = press(page(tag), 'z', { ctrlKey: true });
  expect(zoomOut).not.toHaveBeenCalled();
  expect(event.defaultPrevented).toBe(false);
});

it('saves from within a field, and opens nothing there', () => {
  const field = page('input');
  press(field, 's', { ctrlKey: true });
  press(field, 'n');
  expect(save).toHaveBeenCalledOnce();
  expect(open).not.toHaveBeenCalled();
});

it('takes all of them outside of fields', () => {
  const place = page('div');
  for (const key of ['z', 's']) press(place, key, { metaKey: true });
  press(place, 'n');
  for (const run of [zoomOut, save, open]) expect(run).toHaveBeenCalledOnce();
});

it('waits while a character is being composed', () => {
  press(page('div'), 'n', { isComposing: true });
  expect(open).not.toHaveBeenCalled();
});
