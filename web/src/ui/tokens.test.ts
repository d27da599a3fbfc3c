import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { describe, expect, test } from 'vitest';

const css = readFileSync(fileURLToPath(new URL('tokens.css', import.meta.url)), 'utf8');

function tokens(theme: string): Record<string, string> {
  const block = new RegExp(`data-theme='${theme}'\\] \\{([^}]+)\\}`).exec(css)![1]!;
  return Object.fromEntries(
    [...block.matchAll(/--([\w-]+): (#[0-9a-f]{6})/g)].map((m) => [m[1], m[2]]),
  );
}

/** Relative luminance and contrast as WCAG 2 defines them. */
function luminance(color: string): number {
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const part = parseInt(color.slice(at, at + 2), 16) / 255;
    return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red! + 0.7152 * green! + 0.0722 * blue!;
}

function contrast(one: string, other: string): number {
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high! + 0.05) / (low! + 0.05);
}

describe.each(['light', 'dark'])('in the %s theme', (theme) => {
  const color = tokens(theme);
  const grounds = [
    'bg',
    'surface',
    'sunken',
    'hover',
    'selected',
    'tint-ok',
    'tint-warn',
    'tint-danger',
  ];

  test.each(grounds)('text can be read on %s', (ground) => {
    expect(contrast(color.text!, color[ground]!)).toBeGreaterThanOrEqual(7);
    expect(contrast(color.muted!, color[ground]!)).toBeGreaterThanOrEqual(4.5);
  });

  test.each(['bg', 'surface', 'sunken'])('links and errors can be read on %s', (ground) => {
    expect(contrast(color.primary!, color[ground]!)).toBeGreaterThanOrEqual(4.5);
    expect(contrast(color.danger!, color[ground]!)).toBeGreaterThanOrEqual(4.5);
    expect(contrast(color.control!, color[ground]!)).toBeGreaterThanOrEqual(3);
  });

  test('buttons can be read', () => {
    expect(contrast(color['on-primary']!, color.primary!)).toBeGreaterThanOrEqual(4.5);
    expect(contrast(color['on-danger']!, color.danger!)).toBeGreaterThanOrEqual(4.5);
  });

  test('states and series stand out from panels', () => {
    for (const [name, value] of Object.entries(color)) {
      if (/^(state|series)-/.test(name)) {
        expect(contrast(value, color.surface!), name).toBeGreaterThanOrEqual(3);
      }
    }
  });
});

test('both themes have the same tokens', () => {
  expect(Object.keys(tokens('dark'))).toEqual(Object.keys(tokens('light')));
});
