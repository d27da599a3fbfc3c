// @vitest-environment jsdom
import { fireEvent, render, screen, waitFor } from '@testing-library/vue';
import axe from 'axe-core';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type Component, defineComponent, h, nextTick, ref } from 'vue';
import { createI18n } from 'vue-i18n';

import { useSelection } from '@/composables/useSelection';

import Button from './Button.vue';
import ConfirmHost from './ConfirmHost.vue';
import { confirm } from './confirm';
import DataGrid from './DataGrid.vue';
import ErrorPanel from './ErrorPanel.vue';
import Field from './Field.vue';
import NumberInput from './NumberInput.vue';
import StateMark from './StateMark.vue';
import Switch from './Switch.vue';
import TextInput from './TextInput.vue';
import ToastHost from './ToastHost.vue';
import { toast, toasts } from './toasts';

// Parts are tested by what they are called, and those are keys here.
const i18n = createI18n({
  legacy: false,
  locale: 'en-US',
  missingWarn: false,
  fallbackWarn: false,
});

function show(part: Component, props = {}, slots = {}) {
  return render(part, { props, slots, global: { plugins: [i18n], stubs: { RouterLink: true } } });
}

async function faultsOf(element: Element): Promise<string[]> {
  const rules = { 'color-contrast': { enabled: false }, region: { enabled: false } };
  const found = await axe.run(element, { rules });
  return found.violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`);
}

describe('a field', () => {
  const whole = (error: string) =>
    defineComponent(() => () => [
      h(Field, { label: 'Time-out', hint: 'Of a request', error }, () =>
        h(NumberInput, { unit: 's' }),
      ),
    ]);

  test('names its control, and ties its hint to it', async () => {
    const { container } = show(whole(''));
    expect(screen.getByLabelText('Time-out').getAttribute('aria-describedby')).toBe(
      screen.getByText('Of a request').id,
    );
    expect(await faultsOf(container)).toEqual([]);
  });

  test('shows a fault in the place of the hint', () => {
    show(whole('Too long'));
    expect(screen.getByLabelText('Time-out').getAttribute('aria-invalid')).toBe('true');
    expect(screen.getByRole('alert').textContent).toBe('Too long');
  });
});

test('a number out of range is kept and marked, and an emptied field is null', async () => {
  const shown = show(NumberInput, { modelValue: 3, min: 1, max: 5, label: 'Tries' });
  const input = screen.getByLabelText('Tries');
  await fireEvent.update(input, '9');
  await shown.rerender({ modelValue: 9 });
  expect(input.getAttribute('aria-invalid')).toBe('true');
  await fireEvent.update(input, '');
  expect(shown.emitted()['update:modelValue']).toEqual([[9], [null]]);
});

test('a text is cleared by its button', async () => {
  const shown = show(TextInput, { modelValue: 'x', clearable: true, label: 'Filter' });
  await fireEvent.click(screen.getByRole('button'));
  expect(shown.emitted()['update:modelValue']).toEqual([['']]);
});

test('a busy button can’t be pressed twice', () => {
  show(Button, { busy: true }, { default: 'Save' });
  expect((screen.getByRole('button') as HTMLButtonElement).disabled).toBe(true);
});

test('a state has a word beside its glyph, be it for screen readers only', () => {
  const { container } = show(StateMark, { state: 'cooling', bare: true });
  expect(container.textContent).toContain('ui.state.cooling');
  expect(container.querySelector('svg')?.dataset.state).toBe('cooling');
});

test('a switch has a name', async () => {
  const { container } = show(Switch, { label: 'Log bodies' });
  expect(screen.getByRole('switch', { name: 'Log bodies' })).toBeTruthy();
  expect(await faultsOf(container)).toEqual([]);
});

test('an error says what, why, what to do and which request it was', async () => {
  const error = { code: 'NOT_FOUND', message: 'No such group.', hint: 'Go back.', requestId: 'r7' };
  const shown = show(ErrorPanel, { error });
  const text = screen.getByRole('alert').textContent;
  for (const part of ['No such group.', 'Go back.', 'NOT_FOUND · r7']) expect(text).toContain(part);
  expect(screen.getByRole('button', { name: 'ui.error.copy' })).toBeTruthy();
  await fireEvent.click(screen.getByRole('button', { name: 'ui.retry' }));
  expect(shown.emitted().retry).toHaveLength(1);
});

describe('a question before a deed', () => {
  beforeEach(() => show(ConfirmHost));

  test('has the name typed before its button works', async () => {
    const answer = confirm({
      title: 'Delete gem?',
      button: 'Delete 7 keys',
      typed: 'gem',
      kind: 'danger',
    });
    const button = await screen.findByRole('button', { name: 'Delete 7 keys' });
    expect((button as HTMLButtonElement).disabled).toBe(true);
    await fireEvent.update(screen.getByRole('textbox'), 'gem');
    await fireEvent.click(button);
    expect(await answer).toBe(true);
  });

  test('never has the focus on the deed', async () => {
    void confirm({ title: 'Restore?', button: 'Restore 200 keys' });
    await screen.findByRole('button', { name: 'Restore 200 keys' });
    await waitFor(() => expect(document.activeElement?.textContent).toContain('ui.cancel'));
    expect(await faultsOf(screen.getByRole('dialog'))).toEqual([]);
  });

  test('is refused by a second one', async () => {
    const first = confirm({ title: 'One?', button: 'One' });
    const second = confirm({ title: 'Two?', button: 'Two' });
    expect(await first).toBe(false);
    await fireEvent.click(await screen.findByRole('button', { name: 'Two' }));
    expect(await second).toBe(true);
  });
});

describe('a message', () => {
  beforeEach(() => {
    vi.useFakeTimers();
    toasts.splice(0);
    show(ToastHost);
  });
  afterEach(() => vi.useRealTimers());

  test('goes by itself, a failure stays', async () => {
    toast({ text: 'Copied' });
    toast({ text: 'Failed', kind: 'danger' });
    await nextTick();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(toasts.map(({ text }) => text)).toEqual(['Failed']);
  });

  test('can be undone for ten seconds, and longer while somebody points at it', async () => {
    const undo = vi.fn();
    toast({ text: 'Deleted', undo });
    await nextTick();
    await fireEvent.pointerEnter(screen.getByRole('listitem'));
    await vi.advanceTimersByTimeAsync(30_000);
    await fireEvent.click(screen.getByText('ui.undo'));
    expect(undo).toHaveBeenCalledOnce();
    expect(toasts).toHaveLength(0);
  });
});

describe('a grid', () => {
  const ROWS = Array.from({ length: 100_000 }, (_, id) => ({ id, name: `row ${id}` }));
  const COLUMNS = [{ id: 'name', label: 'Name', sort: 'name' }];

  beforeEach(() => {
    // jsdom lays nothing out: without a height no row would be in the window.
    for (const name of ['offsetHeight', 'clientHeight'] as const) {
      vi.spyOn(HTMLElement.prototype, name, 'get').mockReturnValue(400);
    }
    vi.stubGlobal(
      'ResizeObserver',
      class {
        observe(): void {}
        unobserve(): void {}
        disconnect(): void {}
      },
    );
    vi.stubGlobal('matchMedia', () => ({
      matches: false,
      addEventListener: vi.fn(),
      removeEventListener: vi.fn(),
    }));
  });
  afterEach(() => {
    vi.restoreAllMocks();
    vi.unstubAllGlobals();
  });

  function grid(props = {}) {
    const selection = useSelection();
    const shown = show(DataGrid, {
      rows: ROWS,
      columns: COLUMNS,
      rowKey: 'id',
      label: 'Keys',
      selection,
      rowHeight: 36,
      ...props,
    });
    return { ...shown, selection, element: screen.getByRole('grid') };
  }

  test('draws some of its rows, and says how many there are', async () => {
    const { element } = grid();
    await nextTick();
    expect(element.getAttribute('aria-rowcount')).toBe('100001');
    expect(element.querySelectorAll('.rows > .line').length).toBeLessThan(80);
    expect(await faultsOf(element)).toEqual([]);
  });

  test('is gone through by the keyboard, with one tab stop', async () => {
    const { element, emitted, selection } = grid();
    await fireEvent.keyDown(element, { key: 'ArrowDown' });
    await fireEvent.keyDown(element, { key: ' ' });
    await fireEvent.keyDown(element, { key: 'ArrowDown', shiftKey: true });
    expect([...selection.ids.value]).toEqual([1, 2]);
    await fireEvent.keyDown(element, { key: 'Enter' });
    expect(emitted().open).toEqual([[ROWS[2], 2]]);
    await fireEvent.keyDown(element, { key: 'Delete' });
    expect(emitted().action).toEqual([['Delete', ROWS[2], 2]]);
    await fireEvent.keyDown(element, { key: 'Escape' });
    expect(selection.count.value).toBe(0);
  });

  test('chooses all that is loaded, then all that matches', async () => {
    const { element, emitted, selection } = grid();
    await fireEvent.keyDown(element, { key: 'a', ctrlKey: true });
    expect(selection.count.value).toBe(100_000);
    await fireEvent.keyDown(element, { key: 'a', ctrlKey: true });
    expect(emitted()['all-matching']).toHaveLength(1);
  });

  test('sorts the greatest first, then the least', async () => {
    const sort = ref('');
    const { emitted, rerender } = grid({ sort: sort.value });
    const head = screen.getByText(/Name/);
    await fireEvent.click(head);
    await rerender({ sort: '-name' });
    await fireEvent.click(head);
    expect(emitted()['update:sort']).toEqual([['-name'], ['name']]);
  });

  test('shows a row that is not there yet as waiting', async () => {
    const { element } = grid({ rows: [undefined, ROWS[1]], selection: undefined });
    await nextTick();
    expect(element.querySelectorAll('.g-skeleton').length).toBe(1);
  });
});
