import type { Component } from 'vue';

export interface MenuItem {
  label: string;
  icon?: Component;
  danger?: boolean;
  disabled?: boolean;
  /** Only shown: whoever owns the page hears it. */
  shortcut?: string;
  run: () => unknown;
}

export type MenuEntry = MenuItem | 'line';
