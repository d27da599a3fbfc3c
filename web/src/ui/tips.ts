import { useEventListener } from '@vueuse/core';

/** So long a pointer rests on something before its tip is shown. */
export const DELAY_MS = 350;
/** From one tip to the next, and onto the tip itself, there are so long. */
export const GRACE_MS = 150;

interface Shown {
  show: (element: HTMLElement) => void;
  hide: () => void;
}

/**
 * Tell when the tip of an element with `data-tip` is to be seen: a pointer rests on it, or it
 * has the focus of a keyboard. One set of listeners for the page, whatever it holds.
 *
 * A tip stays while the pointer is on it, and goes with Escape, a press or a scroll
 * (WCAG 2.2, 1.4.13).
 *
 * @param isTip - whether an element is in the tip itself.
 * @returns to be called when it was closed otherwise.
 */
export function useTips({ show, hide }: Shown, isTip: (element: Element) => boolean): () => void {
  let shown: HTMLElement | null = null;
  /** Where the pointer is, and was pressed: it has been used, and explains itself no more. */
  let used: HTMLElement | null = null;
  let wanted: HTMLElement | null = null;
  let closedAt = -Infinity;
  let timer: ReturnType<typeof setTimeout> | undefined;

  function open(element: HTMLElement): void {
    clearTimeout(timer);
    wanted = element;
    if (element === shown || !element.isConnected) return;
    shown = element;
    show(element);
  }

  function close(): void {
    clearTimeout(timer);
    wanted = null;
    if (shown === null) return;
    shown = null;
    closedAt = performance.now();
    hide();
  }

  function owner(target: EventTarget | null): HTMLElement | null {
    if (!(target instanceof Element)) return null;
    return isTip(target) ? shown : target.closest<HTMLElement>('[data-tip]:not([data-tip=""])');
  }

  function hovered(target: EventTarget | null): void {
    const element = owner(target);
    if (element !== used) used = null;
    if (element === wanted || used !== null) return;
    clearTimeout(timer);
    wanted = element;
    if (element === null) {
      timer = setTimeout(close, GRACE_MS);
    } else if (element !== shown) {
      const isNext = shown !== null || performance.now() - closedAt < GRACE_MS;
      timer = setTimeout(() => open(element), isNext ? 0 : DELAY_MS);
    }
  }

  useEventListener(document, 'pointerover', (event: PointerEvent) => {
    if (event.pointerType !== 'touch') hovered(event.target);
  });
  useEventListener(document.documentElement, 'pointerleave', () => hovered(null));
  useEventListener(document, 'focusin', ({ target }) => {
    const element = owner(target);
    if (element !== null && (target as Element).matches(':focus-visible')) open(element);
  });
  useEventListener(document, 'focusout', close);
  useEventListener(
    document,
    'pointerdown',
    ({ target }) => {
      const element = owner(target);
      close();
      used = element;
    },
    { capture: true },
  );
  // Escape is the tip's own: it closes what is on top, and only that.
  useEventListener(document, 'keydown', ({ key }) => key !== 'Escape' && close());
  useEventListener(window, 'scroll', close, { capture: true });
  return close;
}
