// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { effectScope } from 'vue';

import { DELAY_MS, GRACE_MS, useTips } from './tips';

const show = vi.fn();
const hide = vi.fn();
let scope = effectScope();

beforeEach(() => {
  vi.useFakeTimers();
  document.body.innerHTML =
    '<button id="a" data-tip="one"><i id="in"></i></button><button id="b" data-tip="two"></button>' +
    '<button id="none" data-tip=""></button><p id="tip"></p>';
  scope = effectScope();
  scope.run(() => useTips({ show, hide }, (element) => element.id === 'tip'));
});
afterEach(() => {
  scope.stop();
  vi.useRealTimers();
  vi.resetAllMocks();
});

function element(id: string): HTMLElement {
  return document.getElementById(id)!;
}

function pointer(type: string, id: string, pointerType = 'mouse'): void {
  const event = new MouseEvent(type, { bubbles: true });
  Object.assign(event, { pointerType });
  element(id).dispatchEvent(event);
}

describe('a tip', () => {
  it('is shown when a pointer rests, and once', () => {
    pointer('pointerover', 'in');
    vi.advanceTimersByTime(DELAY_MS - 1);
    expect(show).not.toHaveBeenCalled();
    pointer('pointerover', 'a');
    vi.advanceTimersByTime(1);
    expect(show).toHaveBeenCalledExactlyOnceWith(element('a'));
  });

  it('is not shown for a pointer that passes, nor for a finger', () => {
    pointer('pointerover', 'a');
    pointer('pointerover', 'none');
    pointer('pointerover', 'b', 'touch');
    vi.advanceTimersByTime(2 * DELAY_MS);
    expect(show).not.toHaveBeenCalled();
  });

  it('stays while the pointer is on it, and goes a moment after', () => {
    pointer('pointerover', 'a');
    vi.advanceTimersByTime(DELAY_MS);
    pointer('pointerover', 'none');
    pointer('pointerover', 'tip');
    vi.advanceTimersByTime(10 * GRACE_MS);
    expect(hide).not.toHaveBeenCalled();
    pointer('pointerover', 'none');
    vi.advanceTimersByTime(GRACE_MS);
    expect(hide).toHaveBeenCalledOnce();
  });

  it('follows at once from one to the next', () => {
    pointer('pointerover', 'a');
    vi.advanceTimersByTime(DELAY_MS);
    pointer('pointerover', 'b');
    vi.advanceTimersByTime(0);
    expect(show).toHaveBeenLastCalledWith(element('b'));
  });

  it('is not shown again for what was pressed, until the pointer comes back', () => {
    pointer('pointerover', 'a');
    vi.advanceTimersByTime(DELAY_MS);
    pointer('pointerdown', 'a');
    expect(hide).toHaveBeenCalledOnce();
    pointer('pointerover', 'in');
    vi.advanceTimersByTime(DELAY_MS);
    expect(show).toHaveBeenCalledOnce();
    pointer('pointerover', 'none');
    pointer('pointerover', 'a');
    vi.advanceTimersByTime(DELAY_MS);
    expect(show).toHaveBeenCalledTimes(2);
  });

  it('is shown for the focus of a keyboard, not of a press', () => {
    const matches = vi.spyOn(element('b'), 'matches').mockReturnValue(false);
    element('b').focus();
    expect(show).not.toHaveBeenCalled();
    element('b').blur();
    matches.mockReturnValue(true);
    element('b').focus();
    expect(show).toHaveBeenCalledExactlyOnceWith(element('b'));
    element('b').blur();
    expect(hide).toHaveBeenCalledOnce();
  });

  it('goes when something scrolls, or a key is pressed; Escape is left to who is on top', () => {
    pointer('pointerover', 'a');
    vi.advanceTimersByTime(DELAY_MS);
    document.dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape' }));
    expect(hide).not.toHaveBeenCalled();
    document.dispatchEvent(new KeyboardEvent('keydown', { key: 'j' }));
    expect(hide).toHaveBeenCalledOnce();
  });
});
