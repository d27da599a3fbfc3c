import {
  ChartLine,
  FlaskConical,
  History,
  KeyRound,
  LayoutDashboard,
  ListTodo,
  type LucideIcon,
  ScrollText,
  Server,
  Settings,
} from '@lucide/vue';

/** An entry of the left rail. */
export interface Entry {
  path: string;
  text: string;
  icon: LucideIcon;
  /** Letter after `g`. */
  letter: string;
  /** Shown in the bottom bar of a phone, not under "More". */
  isMain?: boolean;
}

export const NAVIGATION: readonly (readonly Entry[])[] = [
  [
    { path: '/', text: 'nav.overview', icon: LayoutDashboard, letter: 'o', isMain: true },
    { path: '/groups', text: 'nav.groups', icon: KeyRound, letter: 'g', isMain: true },
    { path: '/logs', text: 'nav.logs', icon: ScrollText, letter: 'l', isMain: true },
    { path: '/latency', text: 'nav.latency', icon: ChartLine, letter: 'p' },
  ],
  [
    { path: '/settings', text: 'nav.settings', icon: Settings, letter: 's' },
    { path: '/simulator', text: 'nav.simulator', icon: FlaskConical, letter: 'i' },
  ],
  [
    { path: '/tasks', text: 'nav.tasks', icon: ListTodo, letter: 't' },
    { path: '/nodes', text: 'nav.nodes', icon: Server, letter: 'n' },
    { path: '/audit', text: 'nav.audit', icon: History, letter: 'a' },
  ],
];
